//! Stacks: the root file systems that apps are staged and run on.

use serde::{Deserialize, Serialize};

use crate::{list::Links, metadata::MetadataBody};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stack {
    pub guid: String,
    pub name: String,
    pub description: String,
    pub state: String,
    pub state_reason: Option<String>,
    pub default: bool,
    pub build_rootfs_image: String,
    pub run_rootfs_image: String,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}
