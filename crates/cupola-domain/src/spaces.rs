//! Spaces: where apps and routes live, inside one organisation.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{OrgId, SpaceId},
    orgs::Metadata,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    pub id: SpaceId,
    pub org_id: OrgId,
    pub name: String,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
