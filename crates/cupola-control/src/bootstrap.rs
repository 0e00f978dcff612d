//! What a platform has from its first start: an administrator, a place to push to, a domain, and
//! the buildpacks of the binary.

use std::collections::BTreeSet;

use cupola_domain::{
    buildpacks::Buildpack,
    domains::Domain,
    ids::{BuildpackId, DomainId, OrgId, SpaceId},
    orgs::{Metadata, Org},
    spaces::Space,
    users::User,
};
use cupola_ports::store::{self, Query, WriteTx};

use crate::{
    Control, ControlError,
    caller::Caller,
    identity::{BUILT_IN_ORIGIN, LoginError, user_named},
};

/// The administrator's name.
pub const ADMIN: &str = "admin";
/// Where the first app can be pushed to.
pub const FIRST_ORG: &str = "default";
pub const FIRST_SPACE: &str = "dev";

/// The buildpacks of the binary in the order of detection: those that ask for a certain file
/// before `binary`, which takes what has a Procfile or a start command.
const BUILTIN: &[&str] = &["staticfile", "nodejs", "go", "python", "binary"];

impl Control {
    /// Whether the administrator is there, so that no password must be made up.
    pub async fn has_admin(&self) -> Result<bool, crate::ControlError> {
        let mut tx = self.read().await?;
        Ok(user_named(&mut *tx, ADMIN, BUILT_IN_ORIGIN).await?.is_some())
    }

    /// The administrator, for connections whose socket only the administrator may open.
    pub async fn admin_caller(&self) -> Result<Caller, ControlError> {
        let mut tx = self.read().await?;
        let admin = user_named(&mut *tx, ADMIN, BUILT_IN_ORIGIN).await?;
        let admin = admin.ok_or(ControlError::NotFound { noun: "User" })?;
        Ok(Caller { user_id: admin.id, username: admin.username, admin: true })
    }

    /// Makes what is missing, at each start. The password is used only if there is no
    /// administrator yet; the first organisation is made only once, so that it may be deleted.
    pub async fn bootstrap(&self, admin_password: &str) -> Result<(), LoginError> {
        let hash = match self.has_admin().await? {
            true => None,
            false => Some(self.hash_password(admin_password).await?),
        };
        let mut tx = self.write().await?;
        let is_first_start = store::first::<User>(&mut *tx, &Query::all()).await?.is_none();
        if let Some(hash) = hash {
            let account = self.new_account(ADMIN, BUILT_IN_ORIGIN, Some(hash));
            let admin = User { admin: true, registered: true, ..account };
            store::insert(&mut *tx, &admin).await?;
        }
        if is_first_start {
            self.make_first_space(&mut *tx).await?;
        }
        self.make_apps_domain(&mut *tx).await?;
        self.make_builtin_buildpacks(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn make_first_space(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
    ) -> Result<(), store::StoreError> {
        let now = self.ports.clock.now();
        let org = Org {
            id: OrgId::random(),
            name: FIRST_ORG.to_owned(),
            suspended: false,
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
        };
        let space = Space {
            id: SpaceId::random(),
            org_id: org.id,
            name: FIRST_SPACE.to_owned(),
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
        };
        store::insert(tx, &org).await?;
        store::insert(tx, &space).await
    }

    async fn make_apps_domain(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
    ) -> Result<(), store::StoreError> {
        let name = self.settings.apps_domain.to_lowercase();
        if store::first::<Domain>(tx, &Query::by("name", name.as_str())).await?.is_some() {
            return Ok(());
        }
        let now = self.ports.clock.now();
        let domain = Domain {
            id: DomainId::random(),
            name,
            owner: None,
            shared_orgs: BTreeSet::new(),
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
        };
        store::insert(tx, &domain).await
    }

    async fn make_builtin_buildpacks(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
    ) -> Result<(), store::StoreError> {
        let existing = store::list::<Buildpack>(tx, &Query::all()).await?.items;
        let last = existing.iter().map(|one| one.position).max().unwrap_or(0);
        let now = self.ports.clock.now();
        let is_missing =
            |folder: &&&str| !existing.iter().any(|one| one.builtin.as_deref() == Some(**folder));
        for (folder, position) in BUILTIN.iter().filter(is_missing).zip(last + 1..) {
            let buildpack = Buildpack {
                id: BuildpackId::random(),
                name: format!("{folder}_buildpack"),
                position,
                enabled: true,
                locked: false,
                builtin: Some((*folder).to_owned()),
                metadata: Metadata::default(),
                created_at: now,
                updated_at: now,
            };
            store::insert(tx, &buildpack).await?;
        }
        Ok(())
    }
}
