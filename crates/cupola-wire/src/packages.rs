//! Packages, uploads and the matching of resources.

use serde::{Deserialize, Serialize};

use crate::{
    list::{Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Package {
    pub guid: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub data: PackageData,
    /// `AWAITING_UPLOAD`, `PROCESSING_UPLOAD`, `READY`, `FAILED` or `EXPIRED`.
    pub state: String,
    pub relationships: PackageRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PackageData {
    pub error: Option<String>,
    pub checksum: Checksum,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checksum {
    #[serde(rename = "type")]
    pub kind: String,
    pub value: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PackageRelationships {
    pub app: ToOne,
}

/// `type` is not needed for a copy; `data` is only for images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreatePackage {
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    pub relationships: PackageRelationships,
    #[serde(default)]
    pub data: Option<serde_json::Value>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateMetadata {
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

/// The files of `POST /v3/resource_matches`, and those of an upload that are not sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resources {
    pub resources: Vec<Resource>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resource {
    pub checksum: ResourceChecksum,
    pub size_in_bytes: u64,
    #[serde(default)]
    pub path: String,
    /// Permission bits in octal digits.
    #[serde(default)]
    pub mode: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResourceChecksum {
    /// SHA-1 in hexadecimal digits.
    pub value: String,
}
