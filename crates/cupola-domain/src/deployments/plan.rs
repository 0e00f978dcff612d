//! Decides how many instances of each generation a deployment wants next.
//!
//! Level-triggered: what it decides follows from the deployment's row and what is ready now, so that
//! control may be killed after any step.
//!
//! Invariant: an instance that is ready leaves only when enough others are; instances beyond those
//! that are wanted never exceed `max_in_flight`, and one more beside a canary; there is no new one
//! before the release phase has succeeded.

use std::collections::BTreeSet;

use super::{Deployment, DeploymentState, Strategy};
use crate::{generations::Share, ids::GenerationId, release_phase::ReleasePhase};

/// What is seen of the instances of the `web` process.
pub struct Sight<'a> {
    /// Whether the instance of this generation and index is running and may be sent requests.
    pub is_ready: &'a dyn Fn(GenerationId, u32) -> bool,
    /// Whether an instance of an earlier generation may still be sent requests.
    pub is_old_served: bool,
    /// Why the new instances will not run, once they crashed too often.
    pub failure: Option<&'a str>,
}

impl Sight<'_> {
    fn ready(&self, share: &Share) -> usize {
        share.indices.iter().filter(|index| (self.is_ready)(share.generation, **index)).count()
    }
}

/// Moves a deployment on by one step. It is unchanged if there is nothing to do but wait.
///
/// `present` is the number of instances that the process has by its own setting.
pub fn advance(deployment: &mut Deployment, present: u32, sight: &Sight<'_>) {
    let present = present as usize;
    match deployment.state {
        DeploymentState::Deploying => {
            let phase = deployment.release_phase.as_ref();
            let waits = phase.is_some_and(ReleasePhase::is_pending);
            let failure = phase.and_then(ReleasePhase::failure);
            match failure.or_else(|| sight.failure.map(str::to_owned)) {
                Some(failure) => {
                    deployment.error = Some(failure);
                    deployment.state = DeploymentState::Canceling;
                }
                None if waits => wait(deployment, present, sight),
                None => deploy(deployment, present, sight),
            }
        }
        DeploymentState::Canceling => cancel(deployment, present, sight),
        DeploymentState::Paused => stay(deployment, present, sight),
        DeploymentState::Deployed | DeploymentState::Canceled | DeploymentState::Superseded => {}
    }
}

/// Until the release phase has ended the old ones are all there is, and follow a scale.
fn wait(deployment: &mut Deployment, present: usize, sight: &Sight<'_>) {
    shrink_old(deployment, present, sight);
    grow_old(deployment, present);
}

fn deploy(deployment: &mut Deployment, present: usize, sight: &Sight<'_>) {
    let goal = Goal::of(deployment, present);
    deployment.new.indices.retain(|index| (*index as usize) < goal.new);
    let ready = sight.ready(&deployment.new);
    if ready >= deployment.new.indices.len() {
        let next = deployment.new.indices.len() + deployment.max_in_flight as usize;
        grow(&mut deployment.new, next.min(goal.new));
    }

    shrink_old(deployment, goal.old(ready), sight);
    if ready < goal.new {
        return;
    }
    if !goal.is_last {
        deployment.state = DeploymentState::Paused;
    } else if !sight.is_old_served {
        // Whoever waits for the end asks the app at once, and must not meet an old instance.
        deployment.state = DeploymentState::Deployed;
    }
}

/// Follows a scale during a pause: the new ones stay as many, and the old ones make up the rest.
fn stay(deployment: &mut Deployment, present: usize, sight: &Sight<'_>) {
    let goal = Goal::of(deployment, present);
    if goal.beside == 0 {
        grow(&mut deployment.new, goal.new);
    }
    deployment.new.indices.retain(|index| (*index as usize) < present.max(goal.new));
    let new = deployment.new.indices.len();
    shrink_old(deployment, goal.old(sight.ready(&deployment.new)), sight);
    if goal.beside > 0 {
        grow_old(deployment, goal.old(new).min(present));
    }
}

/// Brings instances of the oldest generation back until there are `count` old ones.
fn grow_old(deployment: &mut Deployment, count: usize) {
    let old: usize = deployment.replaces.iter().map(|share| share.indices.len()).sum();
    if let Some(oldest) = deployment.replaces.first_mut() {
        grow(oldest, oldest.indices.len() + count.saturating_sub(old));
    }
}

fn shrink_old(deployment: &mut Deployment, keep: usize, sight: &Sight<'_>) {
    let mut old: Vec<&mut Share> = deployment.replaces.iter_mut().collect();
    shrink(&mut old, keep, sight);
}

/// The instances at the end of the present step.
struct Goal {
    new: usize,
    /// Ready ones that there shall be at least, new and old together.
    ready_min: usize,
    /// Old ones beyond that: they stay with a canary.
    beside: usize,
    /// No old ones are left.
    is_last: bool,
}

impl Goal {
    fn of(deployment: &Deployment, present: usize) -> Self {
        let wanted = deployment.web.instances.map_or(present, |count| count as usize);
        let all = Self { new: wanted, ready_min: wanted.max(present), beside: 0, is_last: true };
        let Strategy::Canary { weights } = &deployment.strategy else { return all };
        if deployment.step > deployment.strategy.steps() || wanted == 0 {
            return all;
        }
        let Some(weight) = weights.get(deployment.step.saturating_sub(1)) else {
            return Self { new: 1, beside: 1, is_last: false, ..all };
        };
        if *weight >= 100 {
            return Self { is_last: false, ..all };
        }
        // Rounded, not cut off: upstream's planner of steps, and its table for operators.
        let new = (wanted * usize::from(*weight) + 50) / 100;
        Self { new: new.max(1), beside: 1, is_last: false, ..all }
    }

    /// How many old ones to keep beside so many new ones that are ready.
    fn old(&self, ready: usize) -> usize {
        if self.beside == 0 && ready >= self.new {
            return 0;
        }
        self.ready_min.saturating_sub(ready) + self.beside
    }
}

fn cancel(deployment: &mut Deployment, present: usize, sight: &Sight<'_>) {
    let max_in_flight = deployment.max_in_flight as usize;
    let Some((base, interim)) = deployment.replaces.split_first_mut() else {
        deployment.state = DeploymentState::Canceled;
        return;
    };
    base.indices.retain(|index| (*index as usize) < present);
    let ready = sight.ready(base);
    let mut others: Vec<&mut Share> = interim.iter_mut().chain([&mut deployment.new]).collect();
    // What is not ready serves nobody: it makes room for the old ones.
    let ready_others = others.iter().map(|share| sight.ready(share)).sum::<usize>();
    let keep = ready_others.min(present.saturating_sub(ready));
    shrink(&mut others, keep, sight);

    if keep == 0 {
        grow(base, present);
        deployment.state = DeploymentState::Canceled;
    } else if ready >= base.indices.len() {
        grow(base, (base.indices.len() + max_in_flight).min(present));
    }
}

/// Adds the lowest indices that are missing until there are `count`.
fn grow(share: &mut Share, count: usize) {
    let missing = (0..).filter(|index| !share.indices.contains(index));
    let missing: BTreeSet<u32> = missing.take(count.saturating_sub(share.indices.len())).collect();
    share.indices.extend(missing);
}

/// Takes indices away until `keep` are left: first what is not ready, of the newest generation, from
/// the highest index down.
fn shrink(shares: &mut [&mut Share], keep: usize, sight: &Sight<'_>) {
    let mut all: Vec<(bool, usize, u32)> = Vec::new();
    for (age, share) in shares.iter().enumerate() {
        let indices = share.indices.iter();
        all.extend(indices.map(|at| ((sight.is_ready)(share.generation, *at), age, *at)));
    }
    let surplus = all.len().saturating_sub(keep);
    all.sort_by_key(|&(ready, age, index)| {
        (ready, std::cmp::Reverse(age), std::cmp::Reverse(index))
    });
    for (_, age, index) in all.into_iter().take(surplus) {
        shares[age].indices.remove(&index);
    }
}

#[cfg(test)]
mod tests;
