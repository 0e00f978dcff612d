//! Who may do what: the roles of one user, and what they allow.
//!
//! Follows the permitted-roles tables of the Cloud Foundry v3 documentation. What cannot be read is
//! told as not found, what can be read but not changed as forbidden; the api does that, this
//! module answers the questions.

use std::collections::{HashMap, HashSet};

use crate::{
    ids::{OrgId, SpaceId},
    roles::{RoleKind, RoleScope},
};

/// The roles that one user holds, and whether the user administers the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    admin: bool,
    orgs: HashMap<OrgId, HashSet<RoleKind>>,
    spaces: HashMap<SpaceId, HashSet<RoleKind>>,
}

/// Ids that a list is limited to; none means every one.
pub type Visible<Id> = Option<Vec<Id>>;

impl Access {
    /// May do everything everywhere.
    pub fn admin() -> Self {
        Self { admin: true, ..Self::default() }
    }

    pub fn of_roles(roles: impl IntoIterator<Item = (RoleKind, RoleScope)>) -> Self {
        let mut access = Self::default();
        for (kind, scope) in roles {
            match scope {
                RoleScope::Org(org) => access.orgs.entry(org).or_default().insert(kind),
                RoleScope::Space(space) => access.spaces.entry(space).or_default().insert(kind),
            };
        }
        access
    }

    pub const fn is_admin(&self) -> bool {
        self.admin
    }

    /// Any role in it. Every role in a space comes with one in its organisation.
    pub fn can_read_org(&self, org: OrgId) -> bool {
        self.admin || self.orgs.contains_key(&org)
    }

    pub fn can_manage_org(&self, org: OrgId) -> bool {
        self.admin || self.holds_in_org(org, &[RoleKind::OrganizationManager])
    }

    pub fn can_read_space(&self, org: OrgId, space: SpaceId) -> bool {
        self.can_manage_org(org) || self.spaces.contains_key(&space)
    }

    /// Apps, routes, packages and so on may be made, changed and deleted.
    pub fn can_develop(&self, space: SpaceId) -> bool {
        self.admin || self.holds_in_space(space, &[RoleKind::SpaceDeveloper])
    }

    /// Apps may be started, stopped and scaled, and routes mapped.
    pub fn can_support(&self, space: SpaceId) -> bool {
        let kinds = [RoleKind::SpaceDeveloper, RoleKind::SpaceSupporter];
        self.admin || self.holds_in_space(space, &kinds)
    }

    /// Roles in the space may be given, and the space be changed.
    pub fn can_manage_space(&self, org: OrgId, space: SpaceId) -> bool {
        self.can_manage_org(org) || self.holds_in_space(space, &[RoleKind::SpaceManager])
    }

    /// Environments and droplets hold secrets: not for auditors and managers.
    pub fn can_read_secrets(&self, space: SpaceId) -> bool {
        self.can_develop(space)
    }

    /// The organisations that a list shows.
    pub fn visible_orgs(&self) -> Visible<OrgId> {
        (!self.admin).then(|| self.orgs.keys().copied().collect())
    }

    /// The spaces whose contents a list shows: those with a role in them, and every space of the
    /// organisations in `managed_orgs`.
    pub fn visible_spaces(&self) -> Visible<SpaceId> {
        (!self.admin).then(|| self.spaces.keys().copied().collect())
    }

    /// The spaces in which apps may be made, changed and deleted.
    pub fn developed_spaces(&self) -> Visible<SpaceId> {
        let spaces = self.spaces.keys().copied();
        (!self.admin).then(|| spaces.filter(|space| self.can_develop(*space)).collect())
    }

    /// The organisations all of whose spaces are visible.
    pub fn managed_orgs(&self) -> Vec<OrgId> {
        let manages = |kinds: &HashSet<RoleKind>| kinds.contains(&RoleKind::OrganizationManager);
        self.orgs.iter().filter(|(_, kinds)| manages(kinds)).map(|(org, _)| *org).collect()
    }

    fn holds_in_org(&self, org: OrgId, wanted: &[RoleKind]) -> bool {
        self.orgs.get(&org).is_some_and(|held| wanted.iter().any(|kind| held.contains(kind)))
    }

    fn holds_in_space(&self, space: SpaceId, wanted: &[RoleKind]) -> bool {
        self.spaces.get(&space).is_some_and(|held| wanted.iter().any(|kind| held.contains(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn developer_changes_apps_but_not_the_space() {
        let (org, space) = (OrgId::random(), SpaceId::random());
        let access = Access::of_roles([
            (RoleKind::OrganizationUser, RoleScope::Org(org)),
            (RoleKind::SpaceDeveloper, RoleScope::Space(space)),
        ]);

        assert!(access.can_read_org(org));
        assert!(access.can_develop(space));
        assert!(!access.can_manage_space(org, space));
        assert!(!access.can_develop(SpaceId::random()));
    }

    #[test]
    fn manager_of_the_organisation_reads_its_spaces_but_does_not_push() {
        let (org, space) = (OrgId::random(), SpaceId::random());
        let access = Access::of_roles([(RoleKind::OrganizationManager, RoleScope::Org(org))]);

        assert!(access.can_read_space(org, space));
        assert!(access.can_manage_space(org, space));
        assert!(!access.can_develop(space));
        assert!(!access.can_read_secrets(space));
    }

    #[test]
    fn stranger_sees_nothing() {
        let access = Access::default();

        assert!(!access.can_read_org(OrgId::random()));
        assert!(!access.can_read_space(OrgId::random(), SpaceId::random()));
        assert_eq!(access.visible_spaces(), Some(Vec::new()));
    }
}
