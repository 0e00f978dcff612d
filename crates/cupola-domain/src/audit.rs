//! Audit events: what happened to a resource, when and by whom.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{EventId, OrgId, SpaceId},
    time::Timestamp,
};

/// Who did something or what it was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub id: String,
    /// `user`, `process`, `app`, ...
    pub kind: String,
    pub name: String,
}

impl Party {
    /// The platform, where nobody else is known, as Cloud Controller names it.
    pub fn system() -> Self {
        let system = || "system".to_owned();
        Self { id: system(), kind: system(), name: system() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    pub id: EventId,
    /// `audit.app.create`, `app.crash`, ... as Cloud Controller names them.
    pub kind: String,
    pub actor: Party,
    pub target: Party,
    pub data: serde_json::Value,
    pub space_id: Option<SpaceId>,
    pub org_id: Option<OrgId>,
    pub created_at: Timestamp,
}

impl AuditEvent {
    /// The key of an event's data under which the app is that something else of it was changed for.
    pub const APP: &'static str = "app_guid";

    /// The app that the event is about although its target is something else: one of its bindings.
    pub fn app_id(&self) -> Option<&str> {
        self.text(Self::APP)
    }

    /// A text in its data. None: there is none of that name.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.data[key].as_str()
    }
}
