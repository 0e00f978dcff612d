//! Audit events.

use serde::{Deserialize, Serialize};

use crate::list::{Guid, Links};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditEvent {
    pub guid: String,
    pub created_at: String,
    pub updated_at: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub actor: Party,
    pub target: Party,
    pub data: serde_json::Value,
    pub space: Option<Guid>,
    pub organization: Option<Guid>,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Party {
    pub guid: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
}
