//! Domains: the names under which routes are made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{DomainId, OrgId},
    orgs::Metadata,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    pub id: DomainId,
    /// Lower case, without a final dot.
    pub name: String,
    /// None: shared by every organisation.
    pub owner: Option<OrgId>,
    /// Other organisations that may make routes under it. None of a domain without owner.
    #[serde(default)]
    pub shared_orgs: BTreeSet<OrgId>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Domain {
    /// Whether routes of the organisation's spaces may be under it.
    pub fn is_usable_by(&self, org: OrgId) -> bool {
        self.owner.is_none_or(|owner| owner == org) || self.shared_orgs.contains(&org)
    }
}
