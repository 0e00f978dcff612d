//! What came of the deployments so far; survives the program.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use e2e::load::{Kind, Report};
use serde_json::{Value, json};

use super::{INSTANCES, OtherCounts, usage::Usage};
use crate::bench::{date, machine, stats::Samples};

pub(super) struct State {
    file: PathBuf,
    pub(super) deployments: usize,
    /// From the request to the version that was deployed answering alone.
    pub(super) seconds: Vec<f64>,
    pub(super) sessions: usize,
    pub(super) minutes: f64,
    pub(super) requests: Report,
    pub(super) other_load: OtherCounts,
    pub(super) begin: Option<Usage>,
    pub(super) end: Option<Usage>,
}

impl State {
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join("state.json");
        let text = fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
        let json: Value = serde_json::from_str(&text)
            .with_context(|| format!("{} is not JSON: remove the folder", file.display()))?;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let count = |value: &Value| usize::try_from(number(value)).unwrap_or_default();
        let names = |value: &Value| -> Vec<String> {
            let list = value.as_array().into_iter().flatten();
            list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        let requests = &json["requests"];
        let served = Kind::ALL.map(|kind| (kind, number(&requests["served"][name(kind)])));
        Ok(Self {
            deployments: count(&json["deployments"]),
            seconds: json["seconds"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(Value::as_f64)
                .collect(),
            sessions: count(&json["sessions"]),
            minutes: json["minutes"].as_f64().unwrap_or_default(),
            requests: Report {
                served: BTreeMap::from(served),
                retried: number(&requests["retried"]),
                gone_away: number(&requests["gone_away"]),
                refused: number(&requests["refused"]),
                wrong: number(&requests["wrong"]),
                failed: number(&requests["failed"]),
                failures: names(&requests["failures"]),
            },
            other_load: OtherCounts {
                served: number(&json["other"]["served"]),
                failed: number(&json["other"]["failed"]),
                words: json["other"]["words"].as_str().unwrap_or_default().to_owned(),
            },
            begin: Usage::from_json(&json["begin"]),
            end: Usage::from_json(&json["end"]),
            file,
        })
    }

    pub(super) fn write(&self) -> anyhow::Result<()> {
        let served = self.requests.served.iter();
        let served: BTreeMap<_, _> = served.map(|(kind, count)| (name(*kind), *count)).collect();
        let Report { retried, gone_away, refused, wrong, failed, failures, .. } = &self.requests;
        let json = json!({
            "deployments": self.deployments, "seconds": self.seconds,
            "sessions": self.sessions, "minutes": self.minutes,
            "requests": {
                "served": served, "retried": retried, "gone_away": gone_away, "refused": refused,
                "wrong": wrong, "failed": failed, "failures": failures,
            },
            "other": {
                "served": self.other_load.served, "failed": self.other_load.failed,
                "words": self.other_load.words,
            },
            "begin": self.begin.as_ref().map(Usage::to_json),
            "end": self.end.as_ref().map(Usage::to_json),
        });
        let temporary = self.file.with_extension("tmp");
        fs::write(&temporary, json.to_string())
            .and_then(|()| fs::rename(&temporary, &self.file))
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Adds what one session's clients came to.
    pub(super) fn add(&mut self, session: &Report) {
        for (kind, count) in &session.served {
            *self.requests.served.entry(*kind).or_default() += count;
        }
        self.requests.retried += session.retried;
        self.requests.gone_away += session.gone_away;
        self.requests.refused += session.refused;
        self.requests.wrong += session.wrong;
        self.requests.failed += session.failed;
        self.requests.failures.extend(session.failures.iter().cloned());
    }

    pub(super) fn text(&self) -> String {
        let Report { retried, gone_away, failed, failures, .. } = &self.requests;
        let of = |kind| self.requests.served.get(&kind).copied().unwrap_or_default();
        let mut text = format!(
            "{} deployments in {} sessions, {:.0} minutes together. Our clients: {} small requests, {} slow answers, \
             {} uploads in pieces, {} uploads of 2 MiB, {} messages over WebSocket; **{failed} failed**, {retried} \
             asked again on an idle connection, {gone_away} WebSockets closed with 1001. `hey`: {} requests, \
             **{} failed**.",
            self.deployments,
            self.sessions,
            self.minutes,
            of(Kind::Plain),
            of(Kind::Slow),
            of(Kind::Chunked),
            of(Kind::Large),
            of(Kind::Tunnel),
            self.other_load.served,
            self.other_load.failed
        );
        if !self.seconds.is_empty() {
            let seconds = Samples::new(self.seconds.clone());
            let _ = write!(
                text,
                " From the request to the new version answering alone: median {:.2} s [{:.2}, {:.2}], p99 {:.2} s.",
                seconds.median(),
                seconds.min(),
                seconds.max(),
                seconds.percentile(99)
            );
        }
        for failure in
            failures.iter().chain([&self.other_load.words]).filter(|words| !words.is_empty())
        {
            let _ = write!(text, "\n- {failure}");
        }
        text
    }

    /// What is kept in docs/benchmarks.md.
    pub(super) fn section(&self) -> String {
        let mut text = format!(
            "Written by `make soak` on {}; `make bench` leaves it alone. One app in Python with {INSTANCES} instances, \
             deployed again and again by API with another variable: rolling, every tenth a canary that is continued, \
             every 25th a canary that is cancelled. Beside it one client of each kind of our own and two \
             connections of `hey` with 20 requests a second each.\n\n",
            date()
        );
        for line in machine() {
            let _ = writeln!(text, "- {line}");
        }
        let _ = writeln!(text, "\n{}", self.text());
        if let (Some(begin), Some(end)) = (&self.begin, &self.end) {
            text += "\n| what the installation took | before the first | after the last |\n|---|---|---|\n";
            for ((what, before), (_, after)) in begin.cells().into_iter().zip(end.cells()) {
                let _ = writeln!(text, "| {what} | {before} | {after} |");
            }
        }
        text
    }
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Plain => "plain",
        Kind::Slow => "slow",
        Kind::Chunked => "chunked",
        Kind::Large => "large",
        Kind::Tunnel => "tunnel",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_the_program() {
        let folder = std::env::temp_dir().join(format!("cupola-soak-test-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder can be made");
        let mut state = State::read(&folder).expect("an empty folder is a new state");
        let mut session = Report { failed: 1, ..Report::default() };
        session.failures.push("after 1 s: refused".to_owned());
        session.served.insert(Kind::Slow, 7);
        state.add(&session);
        state.seconds.push(1.5);
        state.deployments = 1;
        state.write().expect("it can be written");

        let again = State::read(&folder).expect("it can be read");

        fs::remove_dir_all(&folder).expect("the folder can be removed");
        assert_eq!(again.text(), state.text());
        assert!(again.text().contains("- after 1 s: refused"), "{}", again.text());
        assert!(again.text().contains("7 slow answers"), "{}", again.text());
    }
}
