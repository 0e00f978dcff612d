//! What applying a manifest would change.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManifestDiff {
    pub diff: Vec<Difference>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// `add`, `replace` or `remove`.
    pub op: String,
    /// Where in the manifest, as in `/applications/0/memory`.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}
