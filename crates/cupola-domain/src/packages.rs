//! Packages: uploaded source, before it is staged.

use serde::{Deserialize, Serialize};

use crate::{
    droplets::LayerDigest,
    ids::{AppId, PackageId},
    orgs::Metadata,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PackageState {
    AwaitingUpload,
    ProcessingUpload,
    Ready {
        /// SHA-256 over the unpacked tree, as the layer's digest.
        layer: LayerDigest,
    },
    Failed {
        error: String,
    },
    Expired,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub id: PackageId,
    pub app_id: AppId,
    pub state: PackageState,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
