//! People and programs that may log in.

use serde::{Deserialize, Serialize};

use crate::{ids::UserId, orgs::Metadata, time::Timestamp};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    /// Compared without regard to case, stored as it was given.
    pub username: String,
    /// Where the user is known: `uaa` for the built-in list.
    pub origin: String,
    /// Argon2id in PHC form; none for a user who cannot log in with a password.
    pub password_hash: Option<String>,
    /// Whether the user holds the scope `cloud_controller.admin`.
    pub admin: bool,
    /// Whether `/v3/users` knows the user: an account may be there before and after that.
    #[serde(default)]
    pub registered: bool,
    /// Tokens issued before this point are refused: set by a logout and a new password.
    pub tokens_valid_from: Timestamp,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
