//! The five figures, against histories counted by hand.

use super::*;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// A history that is written as it happens.
#[derive(Default)]
struct Script {
    entries: Vec<Entry>,
    running: Option<String>,
}

impl Script {
    fn push(&mut self, seconds: i64, what: Happening) {
        self.entries.push(Entry { at: at(seconds), what });
    }

    /// Begins; the release has the name of its droplet and the second of its begin.
    fn begin(&mut self, seconds: i64, droplet: &str, more: Begun) -> String {
        let release = format!("{droplet}@{seconds}");
        let before = self.running.clone();
        let (name, droplet) = (release.clone(), droplet.to_owned());
        self.running = Some(droplet.clone());
        self.push(seconds, Happening::Began(Begun { release, droplet, before, ..more }));
        name
    }

    /// Begins, and serves a minute later.
    fn serve(&mut self, seconds: i64, droplet: &str, more: Begun) -> String {
        let release = self.begin(seconds, droplet, more);
        self.push(seconds + MINUTE, Happening::Served { release: release.clone() });
        release
    }

    fn figures(&self, days: i64) -> Vec<Figure> {
        let (since, until) = (at(0), at(days * DAY));
        figures(&History { known_since: since, since, until, entries: self.entries.clone() })
    }
}

fn committed(seconds: i64) -> Begun {
    Begun { commit: Some(Some(at(seconds))), ..Begun::default() }
}

fn rollback() -> Begun {
    Begun { is_rollback: true, ..Begun::default() }
}

fn values(figures: &[Figure]) -> Vec<Option<Measure>> {
    figures.iter().map(|figure| figure.value).collect()
}

fn minutes(minutes: u64) -> Option<Measure> {
    Some(Measure::Time(Duration::from_secs(minutes * 60)))
}

#[test]
fn nothing_happened_is_a_frequency_of_zero_and_nothing_else() {
    let figures = Script::default().figures(30);

    assert_eq!(values(&figures), [Some(Measure::PerDay(0.0)), None, None, None, None]);
    assert_eq!(figures[3].unknown, ["there was no deployment"]);
    assert_eq!(figures[2].unknown, ["no deployment failed"]);
}

#[test]
fn good_deployments_have_a_frequency_and_a_lead_time() {
    let mut script = Script::default();
    script.serve(2 * DAY, "a", committed(2 * DAY - HOUR));
    script.serve(4 * DAY, "b", committed(4 * DAY - 3 * HOUR));

    let figures = script.figures(10);

    assert_eq!(figures[0].value, Some(Measure::PerDay(0.2)));
    assert_eq!(figures[1].value, minutes(121));
    assert_eq!(figures[1].sample, 2);
    assert_eq!(figures[3].value, Some(Measure::Share(0.0)));
}

#[test]
fn restart_with_the_same_code_is_no_deployment() {
    let mut script = Script::default();
    script.serve(DAY, "a", committed(0));
    script.serve(2 * DAY, "a", committed(0));

    assert_eq!(script.figures(10)[0].sample, 1);
}

#[test]
fn what_is_not_known_of_a_commit_is_counted_and_told() {
    let mut script = Script::default();
    script.serve(DAY, "a", committed(DAY - HOUR));
    script.serve(2 * DAY, "b", Begun::default());
    script.serve(3 * DAY, "c", Begun { commit: Some(None), ..Begun::default() });
    script.serve(4 * DAY, "d", committed(9 * DAY));
    script.begin(5 * DAY, "e", committed(4 * DAY));

    let lead_time = &script.figures(10)[1];

    assert_eq!((lead_time.value, lead_time.sample), (minutes(61), 1));
    assert_eq!(
        lead_time.unknown,
        [
            "1 of 5 deployments have no commit with a time",
            "1 of 5 deployments have changes that are in no commit",
            "1 of 5 deployments never served",
            "1 of 5 deployments were committed after they served, by the clock of the committer",
        ]
    );
}

#[test]
fn cancelled_deployment_failed_and_is_recovered_by_the_cancel() {
    let mut script = Script::default();
    script.serve(DAY, "a", Begun::default());
    let release = script.begin(2 * DAY, "b", Begun::default());
    script.push(2 * DAY + 5 * MINUTE, Happening::Cancelled { release });

    let figures = script.figures(10);

    assert_eq!(figures[2].value, minutes(5));
    assert_eq!(figures[3].value, Some(Measure::Share(0.5)));
    assert_eq!(figures[4].value, Some(Measure::Share(0.0)));
}

#[test]
fn trying_again_what_was_cancelled_is_a_deployment_and_no_rollback() {
    let mut script = Script::default();
    script.serve(DAY, "a", Begun::default());
    let release = script.serve(2 * DAY, "b", Begun::default());
    script.push(2 * DAY + HOUR, Happening::Cancelled { release });
    script.running = Some("a".to_owned());
    script.serve(3 * DAY, "b", Begun::default());

    assert_eq!(script.figures(10)[0].sample, 3);
}

#[test]
fn rollback_within_a_day_says_that_it_failed_and_a_later_one_does_not() {
    let mut soon = Script::default();
    soon.serve(DAY, "a", Begun::default());
    soon.serve(2 * DAY, "b", Begun::default());
    soon.serve(2 * DAY + 10 * MINUTE, "a", rollback());
    let mut late = Script::default();
    late.serve(DAY, "a", Begun::default());
    late.serve(2 * DAY, "b", Begun::default());
    late.serve(4 * DAY, "a", rollback());

    assert_eq!(soon.figures(10)[2].value, minutes(11));
    assert_eq!(soon.figures(10)[3].value, Some(Measure::Share(0.5)));
    assert_eq!(late.figures(10)[3].value, Some(Measure::Share(0.0)));
}

#[test]
fn going_back_to_a_droplet_that_ran_is_a_rollback_without_being_called_one() {
    let mut script = Script::default();
    script.serve(DAY, "a", Begun::default());
    script.serve(2 * DAY, "b", Begun::default());
    script.serve(2 * DAY + HOUR, "a", Begun::default());

    let figures = script.figures(10);

    assert_eq!(figures[0].sample, 2);
    assert_eq!(figures[3].value, Some(Measure::Share(0.5)));
}

#[test]
fn crash_loop_fails_a_deployment_and_its_repair_is_rework() {
    let mut script = Script::default();
    let broken = script.begin(DAY, "a", Begun::default());
    for in_a_row in 1..=4 {
        let release = broken.clone();
        script.push(DAY + i64::from(in_a_row), Happening::Crashed { release, in_a_row });
    }
    script.serve(DAY + 29 * MINUTE, "b", Begun::default());

    let figures = script.figures(10);

    assert_eq!(figures[2].value, minutes(30));
    assert_eq!(figures[3].value, Some(Measure::Share(0.5)));
    assert_eq!(figures[4].value, Some(Measure::Share(0.5)));
}

#[test]
fn single_crash_fails_nothing_and_a_failure_without_recovery_has_no_time() {
    let mut once = Script::default();
    let release = once.serve(DAY, "a", Begun::default());
    once.push(DAY + HOUR, Happening::Crashed { release, in_a_row: 1 });
    let mut lost = Script::default();
    let release = lost.serve(DAY, "a", Begun::default());
    lost.push(DAY + HOUR, Happening::Crashed { release, in_a_row: 4 });

    assert_eq!(once.figures(10)[3].value, Some(Measure::Share(0.0)));
    let recovery = &lost.figures(10)[2];
    assert_eq!(recovery.value, None);
    assert_eq!(recovery.unknown, ["1 of 1 failed deployments are not recovered"]);
}

#[test]
fn deployment_that_is_marked_as_a_repair_says_that_the_one_before_failed() {
    let mut script = Script::default();
    script.serve(DAY, "a", Begun::default());
    script.serve(DAY + HOUR, "b", Begun { is_rework: true, ..Begun::default() });

    let figures = script.figures(10);

    assert_eq!(figures[3].value, Some(Measure::Share(0.5)));
    assert_eq!(figures[4].value, Some(Measure::Share(0.5)));
}

#[test]
fn only_the_period_counts_and_what_is_not_kept_is_told() {
    let mut script = Script::default();
    script.serve(DAY, "a", Begun::default());
    script.serve(6 * DAY, "b", Begun::default());
    let entries = script.entries;
    let period = |known_since, since| History {
        known_since: at(known_since),
        since: at(since),
        until: at(10 * DAY),
        entries: entries.clone(),
    };

    let late = figures(&period(0, 5 * DAY));
    let early = figures(&period(0, -10 * DAY));

    assert_eq!((late[0].value, late[0].sample), (Some(Measure::PerDay(0.2)), 1));
    assert_eq!(early[0].value, Some(Measure::PerDay(0.2)));
    assert_eq!(early[0].unknown, ["nothing before 1970-01-01T00:00:00Z is known"]);
}

/// The hand-computed history: 50 deployments, two a day, of which 6 are rolled back after an hour
/// and 3 are repaired after two.
#[test]
fn fifty_deployments_six_rollbacks_and_three_repairs_have_the_values_of_the_hand() {
    let mut script = Script::default();
    let mut number = 0;
    let mut deploy = |script: &mut Script, seconds: i64, more: Begun| {
        number += 1;
        script.serve(seconds, &format!("v{number}"), more);
        number
    };
    for day in 0..25 {
        let morning = day * DAY + 9 * HOUR;
        deploy(&mut script, morning, committed(morning - 2 * HOUR + MINUTE));
        let afternoon = day * DAY + 15 * HOUR;
        let is_repair = day % 8 == 7;
        let when = if is_repair { morning + 2 * HOUR } else { afternoon };
        let more = Begun { is_rework: is_repair, ..committed(when - 4 * HOUR + MINUTE) };
        let version = deploy(&mut script, when, more);
        if day % 4 == 1 && day < 24 {
            script.serve(afternoon + HOUR, &format!("v{}", version - 1), rollback());
        }
    }

    let figures = script.figures(25);

    assert_eq!(figures[0].value, Some(Measure::PerDay(2.0)));
    // 25 times two hours and 25 times four.
    assert_eq!(figures[1].value, minutes(3 * 60));
    // Six times an hour and three times two, each and a minute until it serves.
    assert_eq!(figures[2].value, minutes(61));
    assert_eq!(figures[3].value, Some(Measure::Share(9.0 / 50.0)));
    assert_eq!(figures[4].value, Some(Measure::Share(3.0 / 50.0)));
}
