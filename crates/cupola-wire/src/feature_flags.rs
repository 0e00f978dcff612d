//! Feature flags of the platform.

use serde::{Deserialize, Serialize};

use crate::list::Links;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FeatureFlag {
    pub name: String,
    pub enabled: bool,
    pub updated_at: Option<String>,
    pub custom_error_message: Option<String>,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFeatureFlag {
    pub enabled: Option<bool>,
    pub custom_error_message: Option<String>,
}
