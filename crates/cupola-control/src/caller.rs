//! Who asks.

use cupola_domain::{audit::Party, ids::UserId};

/// The user that a token was issued to, as the token tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user_id: UserId,
    pub username: String,
    pub admin: bool,
}

impl Caller {
    /// The platform itself, for what its loops do.
    pub fn platform() -> Self {
        let user_id = UserId::from_uuid(uuid::Uuid::nil());
        Self { user_id, username: "cupola".to_owned(), admin: true }
    }

    pub(crate) fn party(&self) -> Party {
        Party { id: self.user_id.to_string(), kind: "user".to_owned(), name: self.username.clone() }
    }
}
