//! The platform's own feature flags, with Cloud Controller's names and defaults.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A flag that an administrator has set; the others have their default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureFlag {
    pub name: String,
    pub enabled: bool,
    pub custom_error_message: Option<String>,
    pub updated_at: Timestamp,
}

/// Every flag and its default (upstream: app/models/runtime/feature_flag.rb).
pub const FEATURE_FLAGS: &[(&str, bool)] = &[
    ("user_org_creation", false),
    ("private_domain_creation", true),
    ("app_bits_upload", true),
    ("app_scaling", true),
    ("route_creation", true),
    ("route_sharing", false),
    ("service_instance_creation", true),
    ("service_instance_sharing", false),
    ("diego_docker", false),
    ("diego_cnb", false),
    ("set_roles_by_username", true),
    ("unset_roles_by_username", true),
    ("task_creation", true),
    ("env_var_visibility", true),
    ("space_scoped_private_broker_creation", true),
    ("space_developer_env_var_visibility", true),
    ("hide_marketplace_from_unauthenticated_users", false),
    ("resource_matching", true),
    ("hash_based_routing", false),
];
