//! Decides which instances to start, drain and stop so that a process reaches its desired state.
//!
//! Level-triggered: the same plan is made from the same state, whatever happened in between, so
//! that control may be killed after any step.
//!
//! Invariant: decides only. Starting and stopping belongs to cupola-control.

use std::time::Duration;

use crate::{
    crash_policy::{AfterCrash, after_crash},
    generations::Share,
    ids::{GenerationId, InstanceId},
    instances::{Instance, InstanceState},
    time::Timestamp,
};

/// What is known of one instance besides its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The cell does not have it.
    Absent,
    Starting,
    Running,
    /// It ended, having been up for this long.
    Exited {
        uptime: Duration,
    },
}

/// One instance: what the platform remembers, what the cell sees, and whether its requests are
/// answered (or may no longer be waited for).
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub row: &'a Instance,
    pub seen: Seen,
    pub drained: bool,
}

/// One step. Every step changes exactly one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new row in state `Starting` for this index.
    Start { generation: GenerationId, index: u32, crash_count: u32 },
    /// The row becomes `Running`: it was seen healthy.
    Ran(InstanceId),
    /// The row becomes `Starting`: the cell begins again, as after a restart of the host.
    Restarting(InstanceId),
    /// The row becomes `Draining`: no new requests.
    Drain(InstanceId),
    /// The row becomes `Stopping`: no longer desired of the cell.
    Stop(InstanceId),
    /// The row becomes `Crashed`, or `Down` when there is no restart.
    Crash(InstanceId, AfterCrash),
    /// The row goes: the cell has nothing of it any more, or it is only a memory of a crash.
    Forget(InstanceId),
}

/// The steps towards what is desired: one share, or several during a deployment, or none where the
/// app is stopped. Carrying them out and planning again ends at no steps.
pub fn plan(desired: &[Share], known: &[Known<'_>], now: Timestamp) -> Vec<Step> {
    let mut steps: Vec<Step> = known.iter().filter_map(|one| step(desired, one, now)).collect();
    steps.extend(desired.iter().flat_map(|share| starts(share, known, now)));
    steps
}

/// The next step of one row.
fn step(desired: &[Share], known: &Known<'_>, now: Timestamp) -> Option<Step> {
    let row = known.row;
    let wanted = is_wanted(desired, row);
    match (row.state, known.seen) {
        (InstanceState::Starting | InstanceState::Running, Seen::Exited { .. }) if !wanted => {
            Some(Step::Forget(row.id))
        }
        (InstanceState::Starting | InstanceState::Running, Seen::Exited { uptime }) => {
            Some(Step::Crash(row.id, after_crash(row.crash_count, uptime)))
        }
        (InstanceState::Starting | InstanceState::Running, _) if !wanted => {
            Some(Step::Drain(row.id))
        }
        (InstanceState::Starting, Seen::Running) => Some(Step::Ran(row.id)),
        (InstanceState::Running, Seen::Absent | Seen::Starting) => Some(Step::Restarting(row.id)),
        (InstanceState::Starting | InstanceState::Running, _) => None,
        (InstanceState::Draining, Seen::Exited { .. } | Seen::Absent) => Some(Step::Stop(row.id)),
        (InstanceState::Draining, _) => known.drained.then_some(Step::Stop(row.id)),
        (InstanceState::Stopping, Seen::Absent | Seen::Exited { .. }) => Some(Step::Forget(row.id)),
        (InstanceState::Stopping, _) => None,
        (InstanceState::Crashed, _) if !wanted || is_due(row, now) => Some(Step::Forget(row.id)),
        (InstanceState::Down, _) if !wanted => Some(Step::Forget(row.id)),
        (InstanceState::Crashed | InstanceState::Down, _) => None,
    }
}

/// New rows for the indices that have none, and for crashed ones whose time has come.
fn starts<'a>(
    share: &'a Share,
    known: &'a [Known<'_>],
    now: Timestamp,
) -> impl Iterator<Item = Step> + 'a {
    let start = move |&index: &u32| {
        let generation = share.generation;
        let holder = known
            .iter()
            .map(|one| one.row)
            .find(|row| row.index == index && row.generation == generation && holds_its_index(row));
        match holder {
            None => Some(Step::Start { generation, index, crash_count: 0 }),
            Some(row) if row.state == InstanceState::Crashed && is_due(row, now) => {
                Some(Step::Start { generation, index, crash_count: row.crash_count })
            }
            Some(_) => None,
        }
    };
    share.indices.iter().filter_map(start)
}

/// When something is due that no event will announce.
pub fn next_due(known: &[Known<'_>]) -> Option<Timestamp> {
    let crashed = known.iter().filter(|one| one.row.state == InstanceState::Crashed);
    crashed.filter_map(|one| one.row.restart_at).min()
}

fn is_wanted(desired: &[Share], row: &Instance) -> bool {
    let is_of = |share: &Share| share.generation == row.generation;
    desired.iter().any(|share| is_of(share) && share.indices.contains(&row.index))
}

const fn holds_its_index(row: &Instance) -> bool {
    !matches!(row.state, InstanceState::Draining | InstanceState::Stopping)
}

fn is_due(row: &Instance, now: Timestamp) -> bool {
    row.restart_at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests;
