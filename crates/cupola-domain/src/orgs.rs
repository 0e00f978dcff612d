//! Organisations: the outermost owner of spaces and private domains.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ids::OrgId, time::Timestamp};

/// Labels and annotations that users attach to a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    pub id: OrgId,
    pub name: String,
    pub suspended: bool,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
