//! Domains: the names under which routes are made.

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
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
