//! The five figures of DORA for one app, from what happened to it.
//!
//! A *deployment* here is a start of other code than ran before: a restart with other variables is
//! none, and neither is a rollback, which is how a deployment is recovered from. It *failed* if,
//! within a day and before the next one, it was cancelled, was rolled back, crashed more often in a
//! row than instances are started again at once, or was followed by one that is marked as a repair.
//!
//! Invariant: no figure without data. What is not known is counted and told beside it.

use std::{collections::HashSet, time::Duration};

use crate::{crash_policy, time::Timestamp};

/// How long after it began a deployment can fail.
pub const FAILS_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What happened to an app, oldest first, and the time that the figures are about.
#[derive(Clone, Debug)]
pub struct History {
    /// When what is kept begins: that of the app, or of the events.
    pub known_since: Timestamp,
    pub since: Timestamp,
    pub until: Timestamp,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Timestamp,
    pub what: Happening,
}

/// Releases and droplets are named by their ids.
#[derive(Clone, Debug)]
pub enum Happening {
    Began(Begun),
    /// The first instance of it that got requests, and each further one.
    Served {
        release: String,
    },
    Crashed {
        release: String,
        in_a_row: u32,
    },
    Cancelled {
        release: String,
    },
}

/// A start, a restart or a deployment.
#[derive(Clone, Debug, Default)]
pub struct Begun {
    pub release: String,
    pub droplet: String,
    /// What ran before; none for the first start.
    pub before: Option<String>,
    pub is_rollback: bool,
    /// Marked as a repair.
    pub is_rework: bool,
    pub commit: Option<CommitTime>,
}

/// When the code was committed. None: with changes that are in no commit.
pub type CommitTime = Option<Timestamp>;

/// A figure, how it comes about, and what is missing in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: &'static str,
    /// None: there is nothing to derive it from.
    pub value: Option<Measure>,
    pub derivation: &'static str,
    /// How many deployments it is derived from.
    pub sample: usize,
    /// What is not known, in sentences.
    pub unknown: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    PerDay(f64),
    /// The median.
    Time(Duration),
    /// From 0 to 1.
    Share(f64),
}

/// The five figures, throughput first.
pub fn figures(history: &History) -> Vec<Figure> {
    let begins = begins(history);
    let deployments = deployments(&begins, history);
    let in_period: Vec<&Deployment<'_>> =
        deployments.iter().filter(|one| one.began_at >= history.since).collect();
    let mut figures = vec![
        frequency(history, &in_period),
        lead_time(&in_period),
        recovery_time(&in_period),
        failure_rate(history, &in_period),
        rework_rate(&in_period),
    ];
    if history.known_since > history.since {
        let told = format!("nothing before {} is known", history.known_since);
        figures.iter_mut().for_each(|figure| figure.unknown.push(told.clone()));
    }
    figures
}

/// A start with what came of it.
struct Begin<'a> {
    at: Timestamp,
    what: &'a Begun,
    kind: Kind,
    served_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    crash_looped_at: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deployment,
    Rollback,
    /// The same code with other settings, or once more.
    Restart,
}

struct Deployment<'a> {
    began_at: Timestamp,
    what: &'a Begun,
    served_at: Option<Timestamp>,
    failed: bool,
    /// Of a failed one: when the app served something that did not fail.
    recovered_at: Option<Timestamp>,
    is_rework: bool,
}

fn begins(history: &History) -> Vec<Begin<'_>> {
    let mut begins: Vec<Begin<'_>> = Vec::new();
    for entry in &history.entries {
        let at = entry.at;
        match &entry.what {
            Happening::Began(what) => {
                let kind = kind(what, &begins);
                let (served_at, cancelled_at, crash_looped_at) = (None, None, None);
                begins.push(Begin { at, what, kind, served_at, cancelled_at, crash_looped_at });
            }
            Happening::Served { release } => {
                note(&mut begins, release, at, |begin| &mut begin.served_at);
            }
            Happening::Cancelled { release } => {
                note(&mut begins, release, at, |begin| &mut begin.cancelled_at);
            }
            Happening::Crashed { release, in_a_row } if crash_policy::waits(*in_a_row) => {
                note(&mut begins, release, at, |begin| &mut begin.crash_looped_at);
            }
            Happening::Crashed { .. } => {}
        }
    }
    begins
}

fn kind(what: &Begun, earlier: &[Begin<'_>]) -> Kind {
    let droplet = &what.droplet;
    let ran = |begin: &Begin<'_>| {
        let served = begin.served_at.is_some() && begin.cancelled_at.is_none();
        (served && begin.what.droplet == *droplet) || begin.what.before.as_ref() == Some(droplet)
    };
    if what.is_rollback {
        Kind::Rollback
    } else if what.before.as_ref() == Some(droplet) {
        Kind::Restart
    } else if earlier.iter().any(ran) {
        Kind::Rollback
    } else {
        Kind::Deployment
    }
}

/// Keeps when something happened first to the release that began last with this name.
fn note(
    begins: &mut [Begin<'_>],
    release: &str,
    at: Timestamp,
    field: for<'b> fn(&'b mut Begin<'_>) -> &'b mut Option<Timestamp>,
) {
    if let Some(begin) = begins.iter_mut().rfind(|begin| begin.what.release == release) {
        field(begin).get_or_insert(at);
    }
}

fn deployments<'a>(begins: &[Begin<'a>], history: &History) -> Vec<Deployment<'a>> {
    let failed: Vec<bool> =
        (0..begins.len()).map(|at| has_failed(&begins[at], &begins[at + 1..], history)).collect();
    let mut repairs = HashSet::new();
    let mut deployments = Vec::new();
    for (at, begin) in begins.iter().enumerate().filter(|(_, one)| one.kind == Kind::Deployment) {
        let good = (at + 1..begins.len()).find(|next| {
            begins[*next].kind != Kind::Restart
                && !failed[*next]
                && begins[*next].served_at.is_some()
        });
        let recovered_at = match begin.cancelled_at {
            // What ran before has never been away.
            Some(at) => Some(at),
            None => good.and_then(|good| begins[good].served_at),
        };
        let is_rework = begin.what.is_rework || repairs.contains(&at);
        if failed[at] && begin.cancelled_at.is_none() {
            repairs.extend(good);
        }
        deployments.push(Deployment {
            began_at: begin.at,
            what: begin.what,
            served_at: begin.served_at,
            failed: failed[at],
            recovered_at: recovered_at.filter(|_| failed[at]),
            is_rework,
        });
    }
    deployments
}

fn has_failed(begin: &Begin<'_>, later: &[Begin<'_>], history: &History) -> bool {
    let next = later.iter().find(|next| next.kind != Kind::Restart);
    let end = next.map_or(history.until, |next| next.at);
    let end = end.min(begin.at + FAILS_WITHIN);
    let within = |at: Option<Timestamp>| at.is_some_and(|at| at <= end);
    let followed = next
        .is_some_and(|next| next.at <= end && (next.kind == Kind::Rollback || next.what.is_rework));
    within(begin.cancelled_at) || within(begin.crash_looped_at) || followed
}

fn frequency(history: &History, deployments: &[&Deployment<'_>]) -> Figure {
    let served = deployments.iter().filter(|one| one.served_at.is_some()).count();
    let period = history.until.since(history.since.max(history.known_since));
    let days = period.as_secs_f64() / (24.0 * 60.0 * 60.0);
    let mut unknown = Vec::new();
    let unserved = deployments.len() - served;
    if unserved > 0 {
        unknown.push(format!("{unserved} of {} deployments never served", deployments.len()));
    }
    Figure {
        name: "deployment frequency",
        value: (days > 0.0).then(|| Measure::PerDay(count(served) / days)),
        derivation: "deployments that served, by the days of the period",
        sample: served,
        unknown,
    }
}

fn lead_time(deployments: &[&Deployment<'_>]) -> Figure {
    let all = deployments.len();
    let (mut times, mut unsaid, mut dirty, mut unserved, mut ahead) = (Vec::new(), 0, 0, 0, 0);
    for one in deployments {
        match (one.served_at, one.what.commit) {
            (None, _) => unserved += 1,
            (_, None) => unsaid += 1,
            (_, Some(None)) => dirty += 1,
            (Some(served), Some(Some(committed))) if served < committed => ahead += 1,
            (Some(served), Some(Some(committed))) => times.push(served.since(committed)),
        }
    }
    let unknown = [
        (unsaid, "have no commit with a time"),
        (dirty, "have changes that are in no commit"),
        (unserved, "never served"),
        (ahead, "were committed after they served, by the clock of the committer"),
    ];
    let unknown = unknown.into_iter().filter(|(count, _)| *count > 0);
    Figure {
        name: "change lead time",
        sample: times.len(),
        value: median(times).map(Measure::Time),
        derivation: "median of the time from the commit to the first instance that got requests",
        unknown: unknown
            .map(|(count, why)| format!("{count} of {all} deployments {why}"))
            .collect(),
    }
}

fn recovery_time(deployments: &[&Deployment<'_>]) -> Figure {
    let failed: Vec<_> = deployments.iter().filter(|one| one.failed).collect();
    let times: Vec<Duration> =
        failed.iter().filter_map(|one| Some(one.recovered_at?.since(one.began_at))).collect();
    let open = failed.len() - times.len();
    let mut unknown = Vec::new();
    if failed.is_empty() {
        unknown.push("no deployment failed".to_owned());
    }
    if open > 0 {
        unknown.push(format!("{open} of {} failed deployments are not recovered", failed.len()));
    }
    Figure {
        name: "failed deployment recovery time",
        sample: times.len(),
        value: median(times).map(Measure::Time),
        derivation: "median of the time from the begin of a deployment that failed to its cancel, \
                     or to when the rollback or deployment after it served and did not fail",
        unknown,
    }
}

fn failure_rate(history: &History, deployments: &[&Deployment<'_>]) -> Figure {
    let failed = deployments.iter().filter(|one| one.failed).count();
    let is_young =
        |one: &&&Deployment<'_>| !one.failed && history.until < one.began_at + FAILS_WITHIN;
    let young = deployments.iter().filter(is_young).count();
    let mut unknown = vec![
        "failures that nobody cancelled, rolled back or marked and that are no \
                            crash loop, such as wrong answers"
            .to_owned(),
    ];
    if young > 0 {
        unknown
            .push(format!("{young} of {} began within a day and may fail yet", deployments.len()));
    }
    Figure {
        name: "change fail rate",
        value: share(failed, deployments.len()),
        derivation: "deployments that within a day, and before the next, were cancelled, rolled \
                     back, crashed again and again, or had to be repaired, by all",
        sample: deployments.len(),
        unknown: told_if_none(unknown, deployments),
    }
}

fn rework_rate(deployments: &[&Deployment<'_>]) -> Figure {
    let rework = deployments.iter().filter(|one| one.is_rework).count();
    let unknown = vec![
        "repairs of failures that are not seen, unless the package is marked with \
                        cupola.dev/rework=true"
            .to_owned(),
    ];
    Figure {
        name: "deployment rework rate",
        value: share(rework, deployments.len()),
        derivation: "deployments that recovered a failed one, or are marked as a repair, by all",
        sample: deployments.len(),
        unknown: told_if_none(unknown, deployments),
    }
}

fn told_if_none(unknown: Vec<String>, deployments: &[&Deployment<'_>]) -> Vec<String> {
    if deployments.is_empty() { vec!["there was no deployment".to_owned()] } else { unknown }
}

fn share(part: usize, all: usize) -> Option<Measure> {
    (all > 0).then(|| Measure::Share(count(part) / count(all)))
}

/// Exact: nobody deploys as often as a float has no room for.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Of an even number, the middle between the two in the middle.
fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    let upper = *times.get(times.len() / 2)?;
    let lower = times[(times.len() - 1) / 2];
    Some(lower + (upper - lower) / 2)
}

#[cfg(test)]
mod tests;
