//! Table tests, and a simulation that crashes and forgets at random.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::{AppId, ProcessId};

const T0: Timestamp = Timestamp::from_micros(1_000_000_000);

fn row(index: u32, generation: GenerationId, state: InstanceState) -> Instance {
    Instance {
        id: InstanceId::random(),
        app_id: AppId::from_uuid(uuid::Uuid::nil()),
        process_id: ProcessId::from_uuid(uuid::Uuid::nil()),
        index,
        generation,
        state,
        was_ready: false,
        crash_count: 0,
        restart_at: None,
        detail: None,
        created_at: T0,
        updated_at: T0,
    }
}

fn known(row: &Instance, seen: Seen) -> Known<'_> {
    Known { row, seen, drained: false }
}

#[test]
fn missing_indices_are_started() {
    let generation = GenerationId::random();
    let running = row(0, generation, InstanceState::Running);

    let steps = plan(&[Share::of(generation, 3)], &[known(&running, Seen::Running)], T0);

    assert_eq!(
        steps,
        [
            Step::Start { generation, index: 1, crash_count: 0 },
            Step::Start { generation, index: 2, crash_count: 0 }
        ]
    );
}

#[test]
fn new_generation_drains_the_old_and_starts_at_once() {
    let old = row(0, GenerationId::random(), InstanceState::Running);
    let generation = GenerationId::random();

    let steps = plan(&[Share::of(generation, 1)], &[known(&old, Seen::Running)], T0);

    let start = Step::Start { generation, index: 0, crash_count: 0 };
    assert_eq!(steps, [Step::Drain(old.id), start]);
}

#[test]
fn two_generations_live_beside_each_other_while_both_are_desired() {
    let (old, new) = (GenerationId::random(), GenerationId::random());
    let running = [0, 1].map(|index| row(index, old, InstanceState::Running));
    let known: Vec<Known<'_>> = running.iter().map(|row| known(row, Seen::Running)).collect();
    let only_second = Share { generation: old, indices: [1].into() };

    let steps = plan(&[only_second, Share::of(new, 1)], &known, T0);

    let start = Step::Start { generation: new, index: 0, crash_count: 0 };
    assert_eq!(steps, [Step::Drain(running[0].id), start]);
}

#[test]
fn draining_instance_is_stopped_only_when_its_requests_are_answered() {
    let generation = GenerationId::random();
    let draining = row(0, generation, InstanceState::Draining);

    let waiting = plan(&[], &[known(&draining, Seen::Running)], T0);
    let done = Known { drained: true, ..known(&draining, Seen::Running) };
    let stopped = plan(&[], &[done], T0);

    assert_eq!(waiting, []);
    assert_eq!(stopped, [Step::Stop(draining.id)]);
}

#[test]
fn crashed_instance_is_replaced_when_its_time_has_come() {
    let generation = GenerationId::random();
    let due = T0 + Duration::from_secs(30);
    let crashed = Instance {
        crash_count: 4,
        restart_at: Some(due),
        ..row(0, generation, InstanceState::Crashed)
    };
    let desired = [Share::of(generation, 1)];

    let before = plan(&desired, &[known(&crashed, Seen::Absent)], T0);
    let after = plan(&desired, &[known(&crashed, Seen::Absent)], due);

    assert_eq!(before, []);
    assert_eq!(
        after,
        [Step::Forget(crashed.id), Step::Start { generation, index: 0, crash_count: 4 }]
    );
}

#[test]
fn exit_of_an_instance_that_is_no_longer_wanted_is_no_crash() {
    let generation = GenerationId::random();
    let exited = row(1, generation, InstanceState::Running);
    let seen = Seen::Exited { uptime: Duration::from_secs(9) };

    let steps = plan(&[Share::of(generation, 1)], &[known(&exited, seen)], T0);

    assert_eq!(
        steps,
        [Step::Forget(exited.id), Step::Start { generation, index: 0, crash_count: 0 }]
    );
}

/// A cell and a store, as simple as can be.
#[derive(Default)]
struct World {
    rows: BTreeMap<InstanceId, Instance>,
    cell: BTreeMap<InstanceId, Seen>,
}

impl World {
    fn seen(&self, id: InstanceId) -> Seen {
        self.cell.get(&id).copied().unwrap_or(Seen::Absent)
    }

    /// Plans and carries out at most `steps_max` steps: control may be killed after any of them.
    fn reconcile(&mut self, desired: &[Share], now: Timestamp, steps_max: usize) -> usize {
        let rows: Vec<Instance> = self.rows.values().cloned().collect();
        let known: Vec<Known<'_>> =
            rows.iter().map(|row| Known { row, seen: self.seen(row.id), drained: true }).collect();
        let steps = plan(desired, &known, now);
        for step in steps.iter().take(steps_max) {
            self.carry_out(*step, now);
        }
        steps.len()
    }

    fn carry_out(&mut self, step: Step, now: Timestamp) {
        let mut set = |id: InstanceId, state| {
            self.rows.get_mut(&id).expect("steps name rows").state = state;
        };
        match step {
            Step::Start { generation, index, crash_count } => {
                let new =
                    Instance { crash_count, ..row(index, generation, InstanceState::Starting) };
                self.rows.insert(new.id, new);
            }
            Step::Ran(id) => set(id, InstanceState::Running),
            Step::Restarting(id) => set(id, InstanceState::Starting),
            Step::Drain(id) => set(id, InstanceState::Draining),
            Step::Stop(id) => set(id, InstanceState::Stopping),
            Step::Crash(id, after) => {
                let row = self.rows.get_mut(&id).expect("steps name rows");
                row.state = InstanceState::Crashed;
                row.crash_count = after.crash_count;
                row.restart_at = after.restart_after.map(|delay| now + delay);
            }
            Step::Forget(id) => {
                self.rows.remove(&id);
            }
        }
    }

    /// The cell starts what is desired of it and drops the rest.
    fn run_cell(&mut self) {
        let desired = |row: &Instance| {
            matches!(
                row.state,
                InstanceState::Starting | InstanceState::Running | InstanceState::Draining
            )
        };
        let rows = &self.rows;
        self.cell.retain(|id, _| rows.get(id).is_some_and(desired));
        for row in rows.values().filter(|row| desired(row)) {
            let seen = self.cell.entry(row.id).or_insert(Seen::Starting);
            if *seen == Seen::Starting {
                *seen = Seen::Running;
            }
        }
    }
}

proptest! {
    #[test]
    fn settles_at_the_desired_number_whatever_happens_on_the_way(
        script in prop::collection::vec((0_u32..5, any::<bool>(), 0_usize..4, 0_usize..6), 1..30),
    ) {
        let mut world = World::default();
        let mut generation = GenerationId::random();
        let mut now = T0;
        let mut instances = 0;
        for (wanted, restart, steps_max, victim) in script {
            instances = wanted;
            if restart {
                generation = GenerationId::random();
            }
            world.reconcile(&[Share::of(generation, instances)], now, steps_max);
            world.run_cell();
            if let Some(seen) = world.cell.values_mut().nth(victim) {
                *seen = Seen::Exited { uptime: Duration::from_secs(1) };
            }
            now = now + Duration::from_secs(20);
        }

        // From here on nothing fails and time goes on.
        let desired = [Share::of(generation, instances)];
        let mut settled = false;
        for _ in 0..200 {
            now = now + Duration::from_secs(3600);
            let steps = world.reconcile(&desired, now, usize::MAX);
            world.run_cell();
            if steps == 0 {
                settled = true;
                break;
            }
        }

        prop_assert!(settled);
        let mut indices: Vec<u32> = world.rows.values().map(|row| row.index).collect();
        indices.sort_unstable();
        prop_assert_eq!(indices, (0..instances).collect::<Vec<_>>());
        prop_assert!(world.rows.values().all(|row| row.state == InstanceState::Running));
    }
}
