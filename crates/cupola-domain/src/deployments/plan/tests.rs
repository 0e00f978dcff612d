//! Table tests of the steps, and a simulation in which instances come, crash and never come.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, strategy::Strategy as ProptestStrategy};

use super::*;
use crate::{
    deployments::{Before, Strategy, WebOptions},
    ids::{AppId, DeploymentId, DropletId, TaskId},
    orgs::Metadata,
    release_phase::Progress,
    time::Timestamp,
};

const T0: Timestamp = Timestamp::from_micros(1_000_000_000);

fn deployment(strategy: Strategy, max_in_flight: u32, old: u32) -> Deployment {
    let base = Share::of(GenerationId::random(), old);
    Deployment {
        id: DeploymentId::random(),
        app_id: AppId::random(),
        step: usize::from(strategy != Strategy::Rolling),
        strategy,
        max_in_flight,
        web: WebOptions::default(),
        droplet: DropletId::random(),
        before: Before {
            droplet: None,
            environment: BTreeMap::new(),
            commands: BTreeMap::new(),
            sidecars: Vec::new(),
        },
        restores: None,
        revision: None,
        release_phase: None,
        state: DeploymentState::Deploying,
        new: Share { generation: GenerationId::random(), indices: BTreeSet::new() },
        replaces: vec![base],
        error: None,
        healthy_at: None,
        cost: None,
        state_changed_at: T0,
        metadata: Metadata::default(),
        created_at: T0,
        updated_at: T0,
    }
}

fn canary<const N: usize>(weights: [u8; N]) -> Strategy {
    Strategy::Canary { weights: weights.to_vec() }
}

fn counts(deployment: &Deployment) -> (usize, usize) {
    let old = deployment.replaces.iter().map(|share| share.indices.len()).sum();
    (deployment.new.indices.len(), old)
}

/// Advances until nothing changes, every instance being ready as soon as it is wanted.
fn settle(deployment: &mut Deployment, present: u32) -> Vec<(usize, usize)> {
    let mut seen = vec![counts(deployment)];
    loop {
        let before = deployment.clone();
        let sight = Sight { is_ready: &|_, _| true, is_old_served: false, failure: None };
        advance(deployment, present, &sight);
        if *deployment == before {
            return seen;
        }
        if seen.last() != Some(&counts(deployment)) {
            seen.push(counts(deployment));
        }
    }
}

#[test]
fn rolling_starts_one_waits_for_it_and_then_drops_one() {
    let mut rolling = deployment(Strategy::Rolling, 1, 2);

    let seen = settle(&mut rolling, 2);

    assert_eq!(seen, [(0, 2), (1, 2), (2, 1), (2, 0)]);
    assert_eq!(rolling.state, DeploymentState::Deployed);
}

#[test]
fn deployment_is_done_only_when_no_old_instance_is_sent_requests() {
    let mut rolling = deployment(Strategy::Rolling, 1, 1);
    let served = Sight { is_ready: &|_, _| true, is_old_served: true, failure: None };

    (0..9).for_each(|_| advance(&mut rolling, 1, &served));
    assert_eq!((counts(&rolling), rolling.state), ((1, 0), DeploymentState::Deploying));
    advance(&mut rolling, 1, &Sight { is_old_served: false, ..served });

    assert_eq!(rolling.state, DeploymentState::Deployed);
}

#[test]
fn new_instance_that_is_not_ready_takes_nothing_from_the_old() {
    let mut rolling = deployment(Strategy::Rolling, 1, 1);
    let old = rolling.replaces[0].generation;
    let sight =
        Sight { is_ready: &|generation, _| generation == old, is_old_served: true, failure: None };

    advance(&mut rolling, 1, &sight);
    advance(&mut rolling, 1, &sight);

    assert_eq!(counts(&rolling), (1, 1));
    assert_eq!(rolling.state, DeploymentState::Deploying);
}

#[test]
fn failed_version_goes_and_says_why_while_the_old_one_serves() {
    let mut rolling = deployment(Strategy::Rolling, 1, 1);
    let old = rolling.replaces[0].generation;
    let is_ready = |generation, _| generation == old;
    let waiting = Sight { is_ready: &is_ready, is_old_served: true, failure: None };
    advance(&mut rolling, 1, &waiting);

    let failed = Sight { failure: Some("Exited with status 3"), ..waiting };
    advance(&mut rolling, 1, &failed);
    advance(&mut rolling, 1, &failed);

    assert_eq!(rolling.state, DeploymentState::Canceled);
    assert_eq!(counts(&rolling), (0, 1));
    assert_eq!(rolling.error.as_deref(), Some("Exited with status 3"));
}

#[test]
fn canary_without_steps_pauses_with_one_beside_all_old() {
    let mut paused = deployment(canary([]), 1, 3);

    settle(&mut paused, 3);

    assert_eq!(counts(&paused), (1, 3));
    assert_eq!(paused.state, DeploymentState::Paused);
}

#[test]
fn canary_steps_are_rounded_as_upstream_rounds_them() {
    let mut paused = deployment(canary([45]), 10, 10);

    settle(&mut paused, 10);

    assert_eq!(counts(&paused), (5, 6));
}

#[test]
fn canary_at_100_per_cent_leaves_no_old_one() {
    let mut paused = deployment(canary([100]), 2, 4);

    settle(&mut paused, 4);

    assert_eq!(counts(&paused), (4, 0));
    assert_eq!(paused.state, DeploymentState::Paused);
}

#[test]
fn continued_canary_goes_on_to_the_end() {
    let mut canary = deployment(canary([20]), 1, 5);
    settle(&mut canary, 5);

    canary.step += 1;
    canary.state = DeploymentState::Deploying;
    settle(&mut canary, 5);

    assert_eq!(counts(&canary), (5, 0));
    assert_eq!(canary.state, DeploymentState::Deployed);
}

#[test]
fn process_that_is_scaled_beside_a_paused_canary_follows() {
    let mut paused = deployment(canary([25]), 4, 4);
    settle(&mut paused, 4);
    let before = counts(&paused);

    settle(&mut paused, 10);
    let more = counts(&paused);
    settle(&mut paused, 2);
    let fewer = counts(&paused);
    settle(&mut paused, 0);

    assert_eq!((before, more, fewer), ((1, 4), (1, 10), (1, 2)));
    assert_eq!(counts(&paused), (0, 0));
    assert_eq!(paused.state, DeploymentState::Paused);
}

#[test]
fn cancelled_deployment_brings_the_old_back_as_carefully() {
    let mut rolling = deployment(Strategy::Rolling, 1, 3);
    rolling.new.indices = BTreeSet::from([0, 1]);
    rolling.replaces[0].indices = BTreeSet::from([0]);
    rolling.state = DeploymentState::Canceling;

    let seen = settle(&mut rolling, 3);

    assert_eq!(seen, [(2, 1), (2, 2), (1, 3), (0, 3)]);
    assert_eq!(rolling.state, DeploymentState::Canceled);
}

#[test]
fn fewer_instances_are_asked_for_and_the_old_ones_stay_until_the_new_are_there() {
    let mut rolling = deployment(Strategy::Rolling, 1, 4);
    rolling.web.instances = Some(1);
    let old = rolling.replaces[0].generation;

    let sight =
        Sight { is_ready: &|generation, _| generation == old, is_old_served: true, failure: None };
    advance(&mut rolling, 4, &sight);
    let while_starting = counts(&rolling);
    settle(&mut rolling, 4);

    assert_eq!(while_starting, (1, 4));
    assert_eq!(counts(&rolling), (1, 0));
}

#[test]
fn broken_old_instance_is_the_first_to_go() {
    let mut rolling = deployment(Strategy::Rolling, 1, 2);
    let old = rolling.replaces[0].generation;
    let sight = Sight {
        is_ready: &|generation, index| generation != old || index == 1,
        is_old_served: true,
        failure: None,
    };

    advance(&mut rolling, 2, &sight);
    advance(&mut rolling, 2, &sight);

    assert_eq!(rolling.replaces[0].indices, BTreeSet::from([1]));
}

#[test]
fn release_phase_goes_first_and_its_failure_leaves_the_old_ones() {
    let mut rolling = deployment(Strategy::Rolling, 1, 2);
    rolling.release_phase = Some(ReleasePhase::of(TaskId::random()));

    settle(&mut rolling, 2);
    let while_it_runs = counts(&rolling);
    settle(&mut rolling, 3);
    let scaled = counts(&rolling);
    end_phase(&mut rolling, Progress::Failed { reason: "Exited with status 7".to_owned() });
    settle(&mut rolling, 3);

    assert_eq!((while_it_runs, scaled), ((0, 2), (0, 3)));
    assert_eq!(counts(&rolling), (0, 3));
    assert_eq!(rolling.state, DeploymentState::Canceled);
    assert!(rolling.error.unwrap().contains("Exited with status 7"));
}

#[test]
fn deployment_goes_on_as_any_other_once_the_phase_has_succeeded() {
    let mut canary = deployment(canary([50]), 1, 2);
    canary.release_phase = Some(ReleasePhase::of(TaskId::random()));
    settle(&mut canary, 2);

    end_phase(&mut canary, Progress::Succeeded);
    settle(&mut canary, 2);

    assert_eq!(counts(&canary), (1, 2));
    assert_eq!(canary.state, DeploymentState::Paused);
}

fn end_phase(deployment: &mut Deployment, progress: Progress) {
    if let Some(phase) = &mut deployment.release_phase {
        phase.progress = progress;
    }
}

/// What may happen to an instance between two looks.
#[derive(Clone, Copy, Debug)]
enum Weather {
    /// Every instance that is wanted becomes ready.
    Calm,
    /// Only the one with this place in the order does.
    One(usize),
    /// The one with this place crashes.
    Crash(usize),
}

fn weather() -> impl ProptestStrategy<Value = Weather> {
    prop_oneof![
        3 => Just(Weather::Calm),
        3 => (0_usize..12).prop_map(Weather::One),
        1 => (0_usize..12).prop_map(Weather::Crash),
    ]
}

/// The instances that are wanted and those of them that are ready.
struct World {
    ready: BTreeMap<(GenerationId, u32), bool>,
}

impl World {
    fn of(deployment: &Deployment) -> Self {
        let mut world = Self { ready: BTreeMap::new() };
        world.follow(deployment);
        world.blow(Weather::Calm);
        world
    }

    /// Forgets what is no longer wanted and makes what is new.
    fn follow(&mut self, deployment: &Deployment) {
        let mut wanted = BTreeSet::new();
        for share in deployment.shares() {
            wanted.extend(share.indices.iter().map(|index| (share.generation, *index)));
        }
        self.ready.retain(|key, _| wanted.contains(key));
        for key in wanted {
            self.ready.entry(key).or_insert(false);
        }
    }

    fn blow(&mut self, weather: Weather) {
        for (place, ready) in self.ready.values_mut().enumerate() {
            match weather {
                Weather::Calm => *ready = true,
                Weather::One(at) if at == place => *ready = true,
                Weather::Crash(at) if at == place => *ready = false,
                Weather::One(_) | Weather::Crash(_) => {}
            }
        }
    }

    fn count_ready(&self) -> usize {
        self.ready.values().filter(|ready| **ready).count()
    }

    fn advance(&mut self, deployment: &mut Deployment, present: u32) {
        let ready = self.ready.clone();
        let is_ready =
            |generation, index| ready.get(&(generation, index)).copied().unwrap_or(false);
        let new = deployment.new.generation;
        let is_old_served = ready.keys().any(|(generation, _)| *generation != new);
        advance(deployment, present, &Sight { is_ready: &is_ready, is_old_served, failure: None });
        assert!(deployment.state != DeploymentState::Deployed || !is_old_served);
        self.follow(deployment);
    }
}

fn strategies() -> impl ProptestStrategy<Value = Strategy> {
    prop_oneof![
        Just(Strategy::Rolling),
        proptest::collection::btree_set(1_u8..=100, 0..4)
            .prop_map(|weights| Strategy::Canary { weights: weights.into_iter().collect() }),
    ]
}

proptest! {
    #[test]
    fn never_fewer_ready_than_asked_never_more_than_allowed_and_it_settles(
        strategy in strategies(),
        instances in 0_u32..8,
        max_in_flight in 1_u32..4,
        cancel_at in proptest::option::of(0_usize..20),
        release in proptest::option::of((0_usize..20, any::<bool>())),
        days in proptest::collection::vec(weather(), 0..40),
    ) {
        let beside = usize::from(strategy != Strategy::Rolling);
        let mut one = deployment(strategy, max_in_flight, instances);
        one.release_phase = release.map(|_| ReleasePhase::of(TaskId::random()));
        let mut world = World::of(&one);
        let days = days.into_iter().chain(std::iter::repeat_n(Weather::Calm, 60));
        for (day, weather) in days.enumerate() {
            if one.state.is_active() && cancel_at == Some(day) {
                one.state = DeploymentState::Canceling;
            }
            if one.state == DeploymentState::Paused {
                one.step += 1;
                one.state = DeploymentState::Deploying;
            }
            if let Some((ends_at, succeeds)) = release && ends_at == day {
                let failed = Progress::Failed { reason: "Exited with status 1".to_owned() };
                end_phase(&mut one, if succeeds { Progress::Succeeded } else { failed });
            }
            world.blow(weather);
            let before = world.count_ready();
            world.advance(&mut one, instances);
            let (new, old) = counts(&one);
            let enough = before.min(instances as usize);
            prop_assert!(world.count_ready() >= enough, "fewer ready than before and asked");
            let released = one.release_phase.as_ref().is_none_or(ReleasePhase::has_succeeded);
            prop_assert!(released || new == 0, "{new} new before the release phase succeeded");
            let most = instances as usize + max_in_flight as usize + beside;
            prop_assert!(new + old <= most, "{new} new and {old} old");
        }
        let wanted = match one.state {
            DeploymentState::Deployed => (instances as usize, 0),
            _ => (0, instances as usize),
        };
        prop_assert!(!one.state.is_active(), "{:?}", one.state);
        prop_assert_eq!(counts(&one), wanted);
    }
}
