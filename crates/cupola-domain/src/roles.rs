//! Roles of users in organisations and spaces.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{OrgId, RoleId, SpaceId, UserId},
    time::Timestamp,
};

/// The role names of the Cloud Foundry v3 API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleKind {
    OrganizationUser,
    OrganizationAuditor,
    OrganizationManager,
    OrganizationBillingManager,
    SpaceAuditor,
    SpaceDeveloper,
    SpaceManager,
    SpaceSupporter,
}

impl RoleKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrganizationUser => "organization_user",
            Self::OrganizationAuditor => "organization_auditor",
            Self::OrganizationManager => "organization_manager",
            Self::OrganizationBillingManager => "organization_billing_manager",
            Self::SpaceAuditor => "space_auditor",
            Self::SpaceDeveloper => "space_developer",
            Self::SpaceManager => "space_manager",
            Self::SpaceSupporter => "space_supporter",
        }
    }

    /// Whether the role is held in an organisation; the others are held in a space.
    pub const fn is_of_org(self) -> bool {
        matches!(
            self,
            Self::OrganizationUser
                | Self::OrganizationAuditor
                | Self::OrganizationManager
                | Self::OrganizationBillingManager
        )
    }
}

/// Where a role is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleScope {
    Org(OrgId),
    Space(SpaceId),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub id: RoleId,
    pub kind: RoleKind,
    pub user_id: UserId,
    pub scope: RoleScope,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Role {
    pub fn new(kind: RoleKind, user_id: UserId, scope: RoleScope, now: Timestamp) -> Self {
        Self { id: RoleId::random(), kind, user_id, scope, created_at: now, updated_at: now }
    }
}
