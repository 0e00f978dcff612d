//! Decides which instances to start, drain and stop so that a process reaches its desired state.
//!
//! Level-triggered: the same plan is made from the same state, whatever happened in between, so
//! that control may be killed after any step.
//!
//! Invariant: decides only. Starting and stopping belongs to cupola-control.

use std::time::Duration;

use crate::{
    crash_policy::{AfterCrash, after_crash},
    ids::{GenerationId, InstanceId},
    instances::{Instance, InstanceState},
    time::Timestamp,
};

/// What the user wants of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Zero where the app is stopped or has no droplet.
    pub instances: u32,
    pub generation: GenerationId,
}

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
    Start { index: u32, crash_count: u32 },
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

/// The steps towards the desired state. Carrying them out and planning again ends at no steps.
pub fn plan(desired: Desired, known: &[Known<'_>], now: Timestamp) -> Vec<Step> {
    let mut steps: Vec<Step> = known.iter().filter_map(|one| step(desired, one, now)).collect();
    steps.extend(starts(desired, known, now));
    steps
}

/// The next step of one row.
fn step(desired: Desired, known: &Known<'_>, now: Timestamp) -> Option<Step> {
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
        (InstanceState::Stopping, Seen::Absent) => Some(Step::Forget(row.id)),
        (InstanceState::Stopping, _) => None,
        (InstanceState::Crashed, _) if !wanted || is_due(row, now) => Some(Step::Forget(row.id)),
        (InstanceState::Down, _) if !wanted => Some(Step::Forget(row.id)),
        (InstanceState::Crashed | InstanceState::Down, _) => None,
    }
}

/// New rows for the indices that have none, and for crashed ones whose time has come.
fn starts(desired: Desired, known: &[Known<'_>], now: Timestamp) -> Vec<Step> {
    let start = |index| {
        let holder = known
            .iter()
            .map(|one| one.row)
            .find(|row| row.index == index && is_wanted(desired, row) && holds_its_index(row));
        match holder {
            None => Some(Step::Start { index, crash_count: 0 }),
            Some(row) if row.state == InstanceState::Crashed && is_due(row, now) => {
                Some(Step::Start { index, crash_count: row.crash_count })
            }
            Some(_) => None,
        }
    };
    (0..desired.instances).filter_map(start).collect()
}

/// When something is due that no event will announce.
pub fn next_due(known: &[Known<'_>]) -> Option<Timestamp> {
    let crashed = known.iter().filter(|one| one.row.state == InstanceState::Crashed);
    crashed.filter_map(|one| one.row.restart_at).min()
}

fn is_wanted(desired: Desired, row: &Instance) -> bool {
    row.generation == desired.generation && row.index < desired.instances
}

const fn holds_its_index(row: &Instance) -> bool {
    !matches!(row.state, InstanceState::Draining | InstanceState::Stopping)
}

fn is_due(row: &Instance, now: Timestamp) -> bool {
    row.restart_at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests;
