//! Lets other organisations make routes under a private domain.

use cupola_domain::{
    access::Access,
    domains::Domain,
    ids::{DomainId, OrgId},
    orgs::Org,
    routes::Route,
    spaces::Space,
};
use cupola_ports::store::{self, Condition, Query, ReadTx};
use serde_json::json;

use super::{event, may_change};
use crate::{
    Control, ControlError,
    apps::{distinct, may},
    caller::Caller,
};

impl Control {
    /// Shares a private domain with more organisations, for those who manage them all.
    pub async fn share_domain(
        &self,
        caller: &Caller,
        id: DomainId,
        with: Vec<String>,
    ) -> Result<Vec<OrgId>, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut domain = self.readable_domain(&mut *tx, &access, id).await?;
        may_change(&mut *tx, &access, &domain).await?;
        let Some(owner) = domain.owner else {
            let detail = "Domains cannot be shared with other organizations unless they are scoped \
                          to an organization.";
            return Err(ControlError::unprocessable(detail));
        };
        domain.shared_orgs.extend(self.orgs_to_share(&mut *tx, &access, owner, &with).await?);
        domain.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &domain).await?;
        let data = json!({ "request": { "shared_organizations": with } });
        let event = crate::events::NewEvent { data, ..event("audit.domain.update", &domain) };
        self.record(&mut *tx, caller.party(), event).await?;
        let shared = visible_orgs_of(&mut *tx, &access, &domain).await?;
        tx.commit().await?;
        Ok(shared)
    }

    /// The organisations of these ids, if the caller may let them use a domain.
    pub(super) async fn orgs_to_share(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        owner: OrgId,
        with: &[String],
    ) -> Result<Vec<OrgId>, ControlError> {
        let mut shared = Vec::with_capacity(with.len());
        for guid in with {
            let org = self.named_org(tx, access, guid).await?;
            if org.id == owner {
                let detail = "Domain cannot be shared with owning organization.";
                return Err(ControlError::unprocessable(detail));
            }
            if may(access, &org, access.can_manage_org(org.id)).is_err() {
                return Err(ControlError::Unprocessable(format!(
                    "You do not have sufficient permissions for organization '{}' to share domain.",
                    org.name
                )));
            }
            shared.push(org.id);
        }
        Ok(shared)
    }

    /// Takes a domain back from an organisation, for who manages one of the two.
    pub async fn unshare_domain(
        &self,
        caller: &Caller,
        id: DomainId,
        from: &str,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut domain = self.readable_domain(&mut *tx, &access, id).await?;
        if may_change(&mut *tx, &access, &domain).await.is_err() {
            let of_sharer = from.parse().is_ok_and(|from| access.can_manage_org(from));
            if !of_sharer {
                return Err(ControlError::NotAuthorized);
            }
        }
        let org = self.named_org(&mut *tx, &access, from).await?;
        if !domain.shared_orgs.remove(&org.id) {
            return Err(ControlError::Unprocessable(format!(
                "Unable to unshare domain from organization with name '{}'. \
                 Ensure the domain is shared to this organization.",
                org.name
            )));
        }
        if has_routes_in(&mut *tx, id, org.id).await? {
            let detail = "This domain has associated routes in this organization. \
                          Delete the routes before unsharing.";
            return Err(ControlError::unprocessable(detail));
        }
        domain.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &domain).await?;
        let data = json!({ "request": { "unshared_organization": from } });
        let event = crate::events::NewEvent { data, ..event("audit.domain.update", &domain) };
        self.record(&mut *tx, caller.party(), event).await?;
        Ok(tx.commit().await?)
    }

    /// For each domain, the organisations that it is shared with and that the caller sees.
    pub async fn shared_orgs_of(
        &self,
        caller: &Caller,
        domains: &[Domain],
    ) -> Result<Vec<Vec<OrgId>>, ControlError> {
        if domains.iter().all(|domain| domain.shared_orgs.is_empty()) {
            return Ok(vec![Vec::new(); domains.len()]);
        }
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut all = Vec::with_capacity(domains.len());
        for domain in domains {
            all.push(visible_orgs_of(&mut *tx, &access, domain).await?);
        }
        Ok(all)
    }

    async fn named_org(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        guid: &str,
    ) -> Result<Org, ControlError> {
        let unknown = || {
            let detail = format!(
                "Organization with guid '{guid}' does not exist, or you do not have access to it."
            );
            ControlError::Unprocessable(detail)
        };
        let id: OrgId = guid.parse().map_err(|_| unknown())?;
        let org = store::get::<Org>(tx, id).await?;
        org.filter(|org| access.can_read_org(org.id)).ok_or_else(unknown)
    }
}

/// Those that are still there. What was deleted since is not taken out of the domain's row.
pub(super) async fn shared_orgs(
    tx: &mut (impl ReadTx + ?Sized),
    domain: &Domain,
) -> Result<Vec<OrgId>, ControlError> {
    let ids = distinct(domain.shared_orgs.iter().copied());
    let query = Query::all().and(Condition::In("id", ids));
    Ok(store::list::<Org>(tx, &query).await?.items.iter().map(|org| org.id).collect())
}

async fn visible_orgs_of(
    tx: &mut (impl ReadTx + ?Sized),
    access: &Access,
    domain: &Domain,
) -> Result<Vec<OrgId>, ControlError> {
    let mut orgs = shared_orgs(tx, domain).await?;
    orgs.retain(|org| access.can_read_org(*org));
    Ok(orgs)
}

async fn has_routes_in(
    tx: &mut (impl ReadTx + ?Sized),
    domain: DomainId,
    org: OrgId,
) -> Result<bool, ControlError> {
    let spaces = store::list::<Space>(tx, &Query::by("org_id", org.to_string())).await?.items;
    let in_org = Condition::In("space_id", distinct(spaces.iter().map(|space| space.id)));
    let query = Query::by("domain_id", domain.to_string()).and(in_org);
    Ok(store::first::<Route>(tx, &query).await?.is_some())
}
