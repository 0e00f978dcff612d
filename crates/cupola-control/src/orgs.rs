//! Organisations: create, read, change, delete.

use cupola_domain::{
    commits::COMMIT,
    domains::Domain,
    ids::OrgId,
    jobs::Job,
    orgs::{Metadata, Org},
    roles::{Role, RoleKind, RoleScope},
    spaces::Space,
};
use cupola_ports::store::{self, Noun, Page, Query};
use serde_json::{Value, json};

use crate::{
    Control, ControlError, ListRequest,
    apps::{may, told},
    caller::Caller,
    control::in_visible_orgs,
    domains::delete_domain_rows,
    events::{NewEvent, target},
    jobs::JobInput,
    names::check_name,
    processes::without_nulls,
    spaces::delete_space_rows,
};

/// What a client says of a new organisation.
#[derive(Clone, Debug)]
pub struct NewOrg {
    pub name: String,
    pub suspended: bool,
    pub metadata: Metadata,
}

/// What a client wants changed; none leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct OrgChange {
    pub name: Option<String>,
    pub suspended: Option<bool>,
    pub metadata: MetadataChange,
}

/// Labels and annotations to set, or with none to remove.
#[derive(Clone, Debug, Default)]
pub struct MetadataChange {
    pub labels: Vec<(String, Option<String>)>,
    pub annotations: Vec<(String, Option<String>)>,
}

impl MetadataChange {
    /// Whether it says which commit something is of.
    pub(crate) fn names_commit(&self) -> bool {
        let mut pairs = self.labels.iter().chain(&self.annotations);
        pairs.any(|(key, value)| key == COMMIT && value.is_some())
    }

    pub(crate) fn apply(self, metadata: &mut Metadata) {
        let pairs =
            [(self.labels, &mut metadata.labels), (self.annotations, &mut metadata.annotations)];
        for (changes, values) in pairs {
            for (key, value) in changes {
                match value {
                    Some(value) => values.insert(key, value),
                    None => values.remove(&key),
                };
            }
        }
    }
}

impl Control {
    /// Makes an organisation and its creator the manager of it.
    pub async fn create_org(&self, caller: &Caller, new: NewOrg) -> Result<Org, ControlError> {
        check_name(&new.name)?;
        let mut tx = self.write().await?;
        self.require_flag_or_admin(&mut *tx, caller, "user_org_creation").await?;
        let now = self.ports.clock.now();
        let request = json!({ "name": new.name, "suspended": new.suspended });
        let org = Org {
            id: OrgId::random(),
            name: new.name,
            suspended: new.suspended,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut *tx, &org).await.map_err(|error| taken(error, &org.name))?;
        for kind in [RoleKind::OrganizationUser, RoleKind::OrganizationManager] {
            if !caller.admin {
                store::insert(
                    &mut *tx,
                    &Role::new(kind, caller.user_id, RoleScope::Org(org.id), now),
                )
                .await?;
            }
        }
        self.record(&mut *tx, caller.party(), event("audit.organization.create", &org, request))
            .await?;
        tx.commit().await?;
        Ok(org)
    }

    pub async fn org(&self, caller: &Caller, id: OrgId) -> Result<Org, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_org(&mut *tx, &access, id).await
    }

    pub async fn list_orgs(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Org>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = in_visible_orgs("id", &access.visible_orgs());
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_org(
        &self,
        caller: &Caller,
        id: OrgId,
        change: OrgChange,
    ) -> Result<Org, ControlError> {
        change.name.as_deref().map_or(Ok(()), check_name)?;
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut org = self.readable_org(&mut *tx, &access, id).await?;
        let allowed = access.can_manage_org(id) && change.suspended.is_none();
        may(&access, &org, allowed || access.is_admin())?;
        let request = without_nulls(json!({
            "name": change.name,
            "suspended": change.suspended,
            "metadata": told::metadata(&change.metadata),
        }));
        org.name = change.name.unwrap_or(org.name);
        org.suspended = change.suspended.unwrap_or(org.suspended);
        change.metadata.apply(&mut org.metadata);
        org.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &org).await.map_err(|error| taken(error, &org.name))?;
        self.record(&mut *tx, caller.party(), event("audit.organization.update", &org, request))
            .await?;
        tx.commit().await?;
        Ok(org)
    }

    /// Refuses callers who may not change the organisation.
    pub async fn require_org_manager(
        &self,
        caller: &Caller,
        id: OrgId,
    ) -> Result<Org, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let org = self.readable_org(&mut *tx, &access, id).await?;
        may(&access, &org, access.can_manage_org(id))?;
        Ok(org)
    }

    /// Begins to delete an organisation with everything in it, and answers with the job.
    pub async fn delete_org(&self, caller: &Caller, id: OrgId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let org = self.readable_org(&mut *tx, &access, id).await?;
        if !access.is_admin() {
            return Err(ControlError::NotAuthorized);
        }
        let event = event("audit.organization.delete-request", &org, json!({ "recursive": true }));
        self.record(&mut *tx, caller.party(), event).await?;
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteOrg { org: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// In one transaction, as `delete_space_rows` says.
    pub(crate) async fn perform_delete_org(&self, id: OrgId) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        let in_org = Query::by("org_id", id.to_string());
        let mut apps = Vec::new();
        for space in store::list::<Space>(&mut *tx, &in_org).await?.items {
            apps.extend(delete_space_rows(&mut *tx, space.id).await?);
        }
        let owned = Query::by("owner_id", id.to_string());
        for domain in store::list::<Domain>(&mut *tx, &owned).await?.items {
            delete_domain_rows(&mut *tx, domain.id).await?;
        }
        tx.delete_rows(Role::TABLE, &in_org.conditions).await?;
        store::delete::<Org>(&mut *tx, id).await?;
        tx.commit().await?;
        for app in apps {
            self.forget_app(app).await;
        }
        Ok(Vec::new())
    }

    /// The organisation, if the caller may see it.
    pub(crate) async fn readable_org(
        &self,
        tx: &mut (impl store::ReadTx + ?Sized),
        access: &cupola_domain::access::Access,
        id: OrgId,
    ) -> Result<Org, ControlError> {
        store::get::<Org>(tx, id)
            .await?
            .filter(|org| access.can_read_org(org.id))
            .ok_or(ControlError::NotFound { noun: "Organization" })
    }
}

fn taken(error: store::StoreError, name: &str) -> ControlError {
    ControlError::taken(error, || format!("Organization '{name}' already exists."))
}

fn event<'a>(kind: &'a str, org: &Org, request: Value) -> NewEvent<'a> {
    NewEvent {
        kind,
        target: target("organization", org.id, &org.name),
        data: json!({ "request": request }),
        space_id: None,
        org_id: Some(org.id),
    }
}
