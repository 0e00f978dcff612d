//! Domains: shared by every organisation, or private to one.

mod sharing;

use std::collections::BTreeSet;

use cupola_domain::{
    access::Access,
    domains::Domain,
    ids::{DomainId, OrgId},
    jobs::Job,
    orgs::{Metadata, Org},
    routes::Route,
};
use cupola_ports::store::{self, Condition, Page, Query, ReadTx, WriteTx};
use serde_json::json;

use crate::{
    Control, ControlError, ListRequest,
    apps::{distinct, may},
    caller::Caller,
    control::in_visible_orgs,
    events::{NewEvent, target},
    jobs::JobInput,
    orgs::MetadataChange,
    routes::delete_route_rows,
};

/// What a client says of a new domain.
#[derive(Clone, Debug)]
pub struct NewDomain {
    pub name: String,
    /// None: shared by every organisation.
    pub owner: Option<OrgId>,
    /// The ids of organisations that may use it too.
    pub shared_with: Vec<String>,
    pub metadata: Metadata,
}

impl Control {
    pub async fn create_domain(
        &self,
        caller: &Caller,
        new: NewDomain,
    ) -> Result<Domain, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        match new.owner {
            Some(org) => {
                self.owner_of_new(&mut *tx, &access, org).await?;
                self.require_flag_or_admin(&mut *tx, caller, "private_domain_creation").await?;
            }
            None if !access.is_admin() => return Err(ControlError::NotAuthorized),
            None => {}
        }
        let shared_orgs: BTreeSet<OrgId> = match new.owner {
            Some(owner) => {
                let with = &new.shared_with;
                self.orgs_to_share(&mut *tx, &access, owner, with).await?.into_iter().collect()
            }
            None if new.shared_with.is_empty() => BTreeSet::new(),
            None => {
                let detail = "Relationships can not contain shared_organizations without an \
                              organization that the domain is private to";
                return Err(ControlError::unprocessable(detail));
            }
        };
        let name = checked_name(&new.name)?;
        if self.is_reserved(&name) {
            let detail = format!("The domain name \"{name}\" is reserved by the platform.");
            return Err(ControlError::Unprocessable(detail));
        }
        self.refuse_overlap(&mut *tx, &name, new.owner).await?;
        let now = self.ports.clock.now();
        let domain = Domain {
            id: DomainId::random(),
            name,
            owner: new.owner,
            shared_orgs,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut *tx, &domain)
            .await
            .map_err(|error| ControlError::taken(error, || taken(&domain.name)))?;
        self.record(&mut *tx, caller.party(), event("audit.domain.create", &domain)).await?;
        tx.commit().await?;
        Ok(domain)
    }

    /// The organisation of a new private domain, for those who manage it.
    async fn owner_of_new(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: OrgId,
    ) -> Result<Org, ControlError> {
        let org = self.readable_org(tx, access, id).await.map_err(|error| match error {
            ControlError::NotFound { .. } => {
                let detail = format!(
                    "Organization with guid '{id}' does not exist or you do not have access to it."
                );
                ControlError::Unprocessable(detail)
            }
            other => other,
        })?;
        may(access, &org, access.can_manage_org(id))?;
        Ok(org)
    }

    /// Refuses a domain under which requests for somebody else would come: one under another
    /// organisation's private domain, one that is a host of an existing route, and, as upstream, a
    /// private one that a domain of somebody else is under.
    async fn refuse_overlap(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        name: &str,
        owner: Option<OrgId>,
    ) -> Result<(), ControlError> {
        for (at, _) in name.match_indices('.') {
            let (host, parent) = (&name[..at], &name[at + 1..]);
            let Some(parent) = store::first::<Domain>(tx, &Query::by("name", parent)).await? else {
                continue;
            };
            if parent.owner.is_some() && parent.owner != owner {
                return Err(ControlError::Unprocessable(taken(name)));
            }
            let query = Query::by("domain_id", parent.id.to_string()).and_by("host", host);
            if store::first::<Route>(tx, &query).await?.is_some() {
                let parent = &parent.name;
                let detail = format!(
                    "The domain name \"{name}\" is the address of a route of \"{parent}\" already. \
                     Delete that route first."
                );
                return Err(ControlError::Unprocessable(detail));
            }
        }
        if owner.is_some() {
            let ending = format!(".{name}");
            let query = Query::all().and(Condition::Contains("name", ending.clone()));
            let near = store::list::<Domain>(tx, &query).await?.items;
            if near.iter().any(|below| below.owner != owner && below.name.ends_with(&ending)) {
                return Err(ControlError::Unprocessable(taken(name)));
            }
        }
        Ok(())
    }

    /// Whether the name is the platform's own address.
    pub(crate) fn is_reserved(&self, name: &str) -> bool {
        let url = &self.settings().external_url;
        let authority = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        host == name
    }

    pub async fn domain(&self, caller: &Caller, id: DomainId) -> Result<Domain, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_domain(&mut *tx, &access, id).await
    }

    /// The domains of listed routes, for `include`.
    pub async fn domains_of(&self, ids: Vec<DomainId>) -> Result<Vec<Domain>, ControlError> {
        let mut tx = self.read().await?;
        let query = Query::all().and(Condition::In("id", distinct(ids.into_iter())));
        Ok(store::list::<Domain>(&mut *tx, &query).await?.items)
    }

    /// Shared domains, and private ones of and for organisations that the caller sees.
    pub async fn list_domains(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Domain>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let orgs = access.visible_orgs();
        let visible = in_visible_orgs("owner_id", &orgs).map(|owned| {
            let shared = orgs.iter().flatten().map(|org| shared_with(*org));
            let visible = shared.chain([owned, Condition::IsNull("owner_id")]);
            Condition::Any(visible.collect())
        });
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    /// The domains that an organisation can make routes under.
    pub async fn list_org_domains(
        &self,
        caller: &Caller,
        org: OrgId,
        request: &ListRequest,
    ) -> Result<Page<Domain>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_org(&mut *tx, &access, org).await?;
        Ok(store::list(&mut *tx, &request.query([usable_by(org)])).await?)
    }

    /// The domain that routes get when no other is named: the oldest shared one.
    pub async fn default_domain(
        &self,
        caller: &Caller,
        org: OrgId,
    ) -> Result<Domain, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_org(&mut *tx, &access, org).await?;
        let domain = default_domain(&mut *tx, org).await?;
        domain.ok_or(ControlError::NotFound { noun: "Domain" })
    }

    pub async fn update_domain(
        &self,
        caller: &Caller,
        id: DomainId,
        metadata: MetadataChange,
    ) -> Result<Domain, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut domain = self.readable_domain(&mut *tx, &access, id).await?;
        may_change(&mut *tx, &access, &domain).await?;
        metadata.apply(&mut domain.metadata);
        domain.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &domain).await?;
        self.record(&mut *tx, caller.party(), event("audit.domain.update", &domain)).await?;
        tx.commit().await?;
        Ok(domain)
    }

    /// Begins to delete a domain with its routes, and answers with the job.
    pub async fn delete_domain(&self, caller: &Caller, id: DomainId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let domain = self.readable_domain(&mut *tx, &access, id).await?;
        may_change(&mut *tx, &access, &domain).await?;
        if !sharing::shared_orgs(&mut *tx, &domain).await?.is_empty() {
            let detail = "This domain is shared with other organizations. Unshare before deleting.";
            return Err(ControlError::unprocessable(detail));
        }
        self.record(&mut *tx, caller.party(), event("audit.domain.delete-request", &domain))
            .await?;
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteDomain { domain: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_domain(
        &self,
        id: DomainId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        delete_domain_rows(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(Vec::new())
    }

    async fn readable_domain(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: DomainId,
    ) -> Result<Domain, ControlError> {
        store::get::<Domain>(tx, id)
            .await?
            .filter(|domain| can_read(access, domain))
            .ok_or(ControlError::NotFound { noun: "Domain" })
    }
}

/// Removes a domain with its routes.
pub(crate) async fn delete_domain_rows(
    tx: &mut dyn WriteTx,
    id: DomainId,
) -> Result<(), ControlError> {
    let query = Query::by("domain_id", id.to_string());
    for route in store::list::<Route>(tx, &query).await?.items {
        delete_route_rows(tx, route.id).await?;
    }
    store::delete::<Domain>(tx, id).await?;
    Ok(())
}

/// Whether the caller may know of the domain: it is everybody's, or of or for an organisation that
/// the caller sees.
pub(crate) fn can_read(access: &Access, domain: &Domain) -> bool {
    domain.owner.is_none_or(|org| access.can_read_org(org))
        || domain.shared_orgs.iter().any(|org| access.can_read_org(*org))
}

fn shared_with(org: OrgId) -> Condition {
    Condition::Contains("shared_with", org.to_string())
}

/// Shared domains, those of the organisation itself, and those that others share with it.
pub(crate) fn usable_by(org: OrgId) -> Condition {
    let own = Condition::In("owner_id", vec![org.to_string().into()]);
    Condition::Any(vec![own, Condition::IsNull("owner_id"), shared_with(org)])
}

/// The oldest shared domain, or else the oldest one of the organisation.
pub(crate) async fn default_domain(
    tx: &mut (impl ReadTx + ?Sized),
    org: OrgId,
) -> Result<Option<Domain>, ControlError> {
    let usable = store::list::<Domain>(tx, &Query::all().and(usable_by(org))).await?.items;
    let shared = usable.iter().find(|domain| domain.owner.is_none()).cloned();
    Ok(shared.or_else(|| usable.into_iter().next()))
}

async fn may_change(
    tx: &mut (impl ReadTx + ?Sized),
    access: &Access,
    domain: &Domain,
) -> Result<(), ControlError> {
    let owner = match domain.owner {
        Some(owner) => store::get::<Org>(tx, owner).await?,
        None => None,
    };
    match owner {
        Some(org) => may(access, &org, access.can_manage_org(org.id)),
        None if access.is_admin() => Ok(()),
        None => Err(ControlError::NotAuthorized),
    }
}

fn taken(name: &str) -> String {
    format!("The domain name \"{name}\" is already in use")
}

/// The name in lower case without a final dot, if it is one.
fn checked_name(name: &str) -> Result<String, ControlError> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let problem = if name.len() < 3 {
        "must be a minimum of 3 characters"
    } else if name.len() > 253 {
        "must be no more than 253 characters"
    } else if !name.contains('.') {
        "must contain at least one \".\""
    } else if !name.split('.').all(is_label) {
        "must contain only alphanumeric characters and hyphens between its dots, \
         and each part must have at most 63 of them"
    } else {
        return Ok(name);
    };
    Err(ControlError::Unprocessable(format!("Name {problem}")))
}

/// Whether the text is one part of a domain name.
pub(crate) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn event<'a>(kind: &'a str, domain: &Domain) -> NewEvent<'a> {
    NewEvent {
        kind,
        target: target("domain", domain.id, &domain.name),
        data: json!({}),
        space_id: None,
        org_id: domain.owner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_name_is_lower_case_and_has_a_dot() {
        assert_eq!(checked_name("Apps.Example.").unwrap(), "apps.example");
        assert!(checked_name("localhost").is_err());
        assert!(checked_name("a..b").is_err());
        assert!(checked_name("-a.example").is_err());
        assert!(checked_name(&format!("{}.example", "a".repeat(64))).is_err());
    }
}
