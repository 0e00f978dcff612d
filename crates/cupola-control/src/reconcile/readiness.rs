//! Tells when an instance gets requests for the first time.
//!
//! Once per start: a check that comes and goes would otherwise fill the database with events.

use cupola_domain::instances::{Instance, InstanceState};
use cupola_ports::{
    cells::{ActualState, Phase},
    store::{self, WriteTx},
};

use super::state::State;
use crate::{Control, ControlError};

/// Whether there is something to tell.
pub(super) fn has_news(state: &State, actual: &ActualState) -> bool {
    state.instances.values().any(|row| is_news(row, actual))
}

pub(super) async fn tell(
    control: &Control,
    tx: &mut dyn WriteTx,
    state: &mut State,
    actual: &ActualState,
) -> Result<(), ControlError> {
    let news = state.instances.values().filter(|row| is_news(row, actual));
    let news: Vec<Instance> = news.cloned().collect();
    for seen in news {
        // A use case may have changed it since it was read.
        let Some(mut row) = store::get::<Instance>(tx, seen.id).await? else { continue };
        row.was_ready = true;
        store::update(tx, &row).await?;
        let process = state.processes.get(&row.process_id);
        if let Some((app, process)) = state.apps.get(&row.app_id).zip(process) {
            control.record_ready(tx, app, process, &row).await?;
        }
        state.instances.insert(row.id, row);
    }
    Ok(())
}

fn is_news(row: &Instance, actual: &ActualState) -> bool {
    let phase = actual.instances.get(&row.id).map(|instance| &instance.phase);
    let is_ready = matches!(phase, Some(Phase::Running { ready: true, .. }));
    row.state == InstanceState::Running && !row.was_ready && is_ready
}
