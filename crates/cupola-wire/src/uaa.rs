//! What the UAA part of the API reads and writes: tokens and SCIM users.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenResponse {
    pub access_token: String,
    /// Lower case `bearer`: the `cf` CLI cuts exactly that off.
    pub token_type: String,
    pub refresh_token: String,
    pub expires_in: u64,
    pub scope: String,
    pub jti: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScimUser {
    pub id: String,
    pub external_id: String,
    pub user_name: String,
    pub name: ScimName,
    pub emails: Vec<ScimEmail>,
    pub groups: Vec<serde_json::Value>,
    pub active: bool,
    pub verified: bool,
    pub origin: String,
    pub zone_id: String,
    pub meta: ScimMeta,
    pub schemas: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScimMeta {
    pub version: u32,
    pub created: String,
    #[serde(rename = "lastModified")]
    pub last_modified: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScimName {
    #[serde(default)]
    pub family_name: String,
    #[serde(default)]
    pub given_name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScimEmail {
    pub value: String,
    #[serde(default)]
    pub primary: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScimList {
    pub resources: Vec<ScimUser>,
    pub start_index: u64,
    pub items_per_page: u64,
    pub total_results: u64,
    pub schemas: Vec<String>,
}

/// Clients send names and addresses too; Cupola keeps the user name only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateScimUser {
    pub user_name: String,
    pub password: Option<String>,
    pub origin: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangePassword {
    pub old_password: Option<String>,
    pub password: String,
}
