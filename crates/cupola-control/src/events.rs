//! Audit events, written in the transaction of what they tell.

use cupola_domain::{
    audit::{AuditEvent, Party},
    ids::{EventId, OrgId, SpaceId},
};
use cupola_ports::store::{self, Condition, Page, WriteTx};

use crate::{
    Control, ControlError, ListRequest,
    caller::Caller,
    control::{in_visible_orgs, in_visible_spaces},
};

/// One thing that happened, before it has an id and a time.
pub(crate) struct NewEvent<'a> {
    /// `audit.app.create`, ...
    pub kind: &'a str,
    pub target: Party,
    pub data: serde_json::Value,
    pub space_id: Option<SpaceId>,
    pub org_id: Option<OrgId>,
}

/// A target of an event.
pub(crate) fn target(kind: &str, id: impl ToString, name: &str) -> Party {
    Party { id: id.to_string(), kind: kind.to_owned(), name: name.to_owned() }
}

impl Control {
    pub(crate) async fn record(
        &self,
        tx: &mut (impl WriteTx + ?Sized),
        actor: Party,
        event: NewEvent<'_>,
    ) -> Result<(), ControlError> {
        let event = AuditEvent {
            id: EventId::random(),
            kind: event.kind.to_owned(),
            actor,
            target: event.target,
            data: event.data,
            space_id: event.space_id,
            org_id: event.org_id,
            created_at: self.ports.clock.now(),
        };
        Ok(store::insert(tx, &event).await?)
    }

    /// The events of organisations and spaces that the caller sees.
    pub async fn list_events(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<AuditEvent>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let spaces = self.visible_spaces(&mut *tx, &access).await?;
        let visible = in_visible_spaces("space_id", &spaces).map(|in_spaces| {
            let orgs = Some(access.managed_orgs());
            Condition::Any(
                [Some(in_spaces), in_visible_orgs("org_id", &orgs)].into_iter().flatten().collect(),
            )
        });
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn event(&self, caller: &Caller, id: EventId) -> Result<AuditEvent, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let spaces = self.visible_spaces(&mut *tx, &access).await?;
        let sees = |event: &AuditEvent| {
            let in_space =
                |visible: &Vec<SpaceId>| event.space_id.is_some_and(|id| visible.contains(&id));
            spaces.as_ref().is_none_or(in_space)
                || event.org_id.is_some_and(|org| access.can_manage_org(org))
        };
        let event = store::get::<AuditEvent>(&mut *tx, id).await?.filter(sees);
        event.ok_or(ControlError::NotFound { noun: "Event" })
    }
}
