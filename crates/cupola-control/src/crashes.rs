//! What happens to instances by itself: crashes, kept and told as events, and getting requests.

use cupola_domain::{
    apps::App,
    audit::Party,
    ids::{GenerationId, ProcessId},
    instances::{Exit, Instance},
    processes::Process,
    spaces::Space,
};
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
        let process = party(exit.process_id, &exit.process_type);
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

    /// Keeps that an instance gets requests, as Cloud Controller names that.
    pub(crate) async fn record_ready(
        &self,
        tx: &mut dyn WriteTx,
        app: &App,
        process: &Process,
        instance: &Instance,
    ) -> Result<(), ControlError> {
        let space = store::get::<Space>(tx, app.space_id).await?;
        let event = NewEvent {
            kind: "audit.app.process.ready",
            target: target("app", app.id, &app.name),
            data: serde_json::json!({
                "instance": instance.id.to_string(),
                "index": instance.index,
                "ready": true,
                "version": instance.generation.to_string(),
            }),
            space_id: Some(app.space_id),
            org_id: space.map(|space| space.org_id),
        };
        self.record(tx, party(process.id, &process.kind), event).await
    }
}

/// A process as the actor of what happens to its instances.
fn party(id: ProcessId, kind: &str) -> Party {
    Party { id: id.to_string(), kind: "process".to_owned(), name: kind.to_owned() }
}
