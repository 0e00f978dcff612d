//! The five figures of DORA for an app, from its audit events.

use cupola_domain::{
    audit::AuditEvent,
    changes::{BEGIN_EVENTS, RELEASE_EVENTS},
    commits::Commit,
    dora::{Begun, Entry, Figure, Happening, History, figures},
    ids::AppId,
    processes::WEB,
    time::Timestamp,
};
use cupola_ports::store::{self, Condition, Query, Value};

use crate::{Control, ControlError, caller::Caller};

/// Without a word of the caller, the figures are of this many days.
const PERIOD: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);

/// The newest events that are read. A crash loop writes a few hundred in a month.
const EVENTS_MAX: u64 = 10_000;

/// The figures and the time that they are about.
#[derive(Clone, Debug)]
pub struct Dora {
    pub app: String,
    pub since: Timestamp,
    pub until: Timestamp,
    pub figures: Vec<Figure>,
}

impl Control {
    pub async fn dora(
        &self,
        caller: &Caller,
        app: AppId,
        since: Option<Timestamp>,
    ) -> Result<Dora, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let app = self.readable_app(&mut *tx, &access, app).await?.app;
        let until = self.ports.clock.now();
        let since = since.unwrap_or_else(|| until.before(PERIOD));
        let kinds = |kinds: &[&'static str]| {
            Condition::In("kind", kinds.iter().map(|kind| Value::from(*kind)).collect())
        };
        // Of the time before, only what ran is asked for: a start of it is a rollback.
        let of_period = Condition::Greater("created_at", since.micros() - 1);
        let query = Query::by("target_id", app.id.to_string())
            .and(kinds(RELEASE_EVENTS))
            .and(Condition::Any(vec![of_period, kinds(BEGIN_EVENTS)]))
            .ordered("created_at", store::Direction::Ascending);
        let events = store::last::<AuditEvent>(&mut *tx, &query, EVENTS_MAX).await?;
        let mut known_since = app.created_at.max(until.before(self.settings().events_age_max));
        if let Some(first) = events.items.first().filter(|_| events.total > EVENTS_MAX) {
            known_since = known_since.max(first.created_at);
        }
        let entries = events.items.iter().filter_map(entry).collect();
        let history = History { known_since, since, until, entries };
        Ok(Dora { app: app.name, since, until, figures: figures(&history) })
    }
}

/// What an event says of a release. None: it is of a platform before events named releases.
fn entry(event: &AuditEvent) -> Option<Entry> {
    let release = event.text("version")?.to_owned();
    let what = match event.kind.as_str() {
        "audit.app.start" | "audit.app.restart" | "audit.app.deployment.create" => {
            Happening::Began(Begun {
                release,
                droplet: event.text("droplet_guid")?.to_owned(),
                before: event.text("previous_droplet_guid").map(str::to_owned),
                is_rollback: event.data["type"] == "rollback",
                is_rework: event.data["rework"] == true,
                commit: commit_time(event),
            })
        }
        "audit.app.process.ready" if event.actor.name == WEB => Happening::Served { release },
        "audit.app.process.crash" => {
            let in_a_row = event.data["crash_count"].as_u64()?;
            Happening::Crashed { release, in_a_row: u32::try_from(in_a_row).ok()? }
        }
        "audit.app.deployment.cancel" => Happening::Cancelled { release },
        _ => return None,
    };
    Some(Entry { at: event.created_at, what })
}

fn commit_time(event: &AuditEvent) -> Option<Option<Timestamp>> {
    let commit: Commit = serde_json::from_value(event.data["commit"].clone()).ok()?;
    if commit.dirty == Some(true) { Some(None) } else { commit.committed_at.map(Some) }
}
