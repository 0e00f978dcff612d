//! Crashes: kept, told as events, and explained.

use cupola_domain::{apps::App, audit::Party, ids::GenerationId, instances::Exit, spaces::Space};
use cupola_ports::store::{self, WriteTx};

use crate::{
    Control, ControlError,
    events::{NewEvent, target},
};

impl Control {
    /// Keeps how an instance ended, with the audit events that Cloud Controller emits for it.
    pub(crate) async fn record_crash(
        &self,
        tx: &mut dyn WriteTx,
        app: Option<&App>,
        generation: GenerationId,
        exit: Exit,
    ) -> Result<(), ControlError> {
        store::insert(tx, &exit).await?;
        let Some(app) = app else { return Ok(()) };
        let space = store::get::<Space>(tx, app.space_id).await?;
        let data = serde_json::json!({
            "instance": exit.instance_id.to_string(),
            "index": exit.index,
            "reason": "CRASHED",
            "exit_description": exit.cause.to_string(),
            "crash_count": exit.crash_count,
            "crash_timestamp": exit.ended_at.nanos(),
            "version": generation.to_string(),
        });
        let process = Party {
            id: exit.process_id.to_string(),
            kind: "process".to_owned(),
            name: exit.process_type.clone(),
        };
        let of_app = Party { kind: "app".to_owned(), ..target("app", app.id, &app.name) };
        for (kind, actor) in [("audit.app.process.crash", process), ("app.crash", of_app)] {
            let event = NewEvent {
                kind,
                target: target("app", app.id, &app.name),
                data: data.clone(),
                space_id: Some(app.space_id),
                org_id: space.as_ref().map(|space| space.org_id),
            };
            self.record(tx, actor, event).await?;
        }
        Ok(())
    }
}
