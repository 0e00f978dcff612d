//! Log-cache: the log of an app, as protocol buffers written in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Info {
    pub version: String,
    /// Nanoseconds, as every 64-bit number in text.
    pub vm_uptime: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Read {
    pub envelopes: Batch,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    pub batch: Vec<Envelope>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Nanoseconds since 1970, in text.
    pub timestamp: String,
    pub source_id: String,
    pub instance_id: String,
    pub deprecated_tags: BTreeMap<String, String>,
    /// `source_type` among them.
    pub tags: BTreeMap<String, String>,
    pub log: Log,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Log {
    /// In base64.
    pub payload: String,
    /// `OUT` or `ERR`.
    #[serde(rename = "type")]
    pub kind: String,
}
