//! How many log lines a core takes in: the measurement of the signals crate, run here.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Context;

use super::{
    child::finish,
    report::{Row, Verdict},
    stats::Samples,
};
use crate::run::{command, run, target};

const RUNS: usize = 3;
const LINES: &str = "1000000";
const LINES_PER_CORE_S_MIN: f64 = 100_000.0;

/// Builds the measurement and returns where it is.
pub(super) fn build() -> anyhow::Result<PathBuf> {
    let arguments =
        ["build", "--release", "--locked", "--package", "cupola-signals", "--example", "ingest"];
    run(&mut command("cargo", &arguments))?;
    Ok(target().join("x86_64-unknown-linux-gnu/release/examples/ingest"))
}

pub(super) fn measure(ingest: &PathBuf) -> anyhow::Result<Row> {
    let mut rates = Vec::new();
    let mut lost = String::new();
    for _ in 0..RUNS {
        let output = finish(Command::new(ingest).arg(LINES), Duration::from_secs(120))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        rates.push(rate(&text).with_context(|| format!("the measurement said:\n{text}"))?);
        lost = text.lines().next().unwrap_or_default().to_owned();
    }
    let rates = Samples::new(rates);
    Ok(Row {
        what: "log ingest",
        budget: format!("{LINES_PER_CORE_S_MIN:.0} lines/s per core"),
        measured: format!(
            "{:.0} lines/s per core [{:.0}, {:.0}], {:.1} µs a line",
            rates.median(),
            rates.min(),
            rates.max(),
            1e6 / rates.median()
        ),
        n: rates.n(),
        verdict: Verdict::at_least(rates.median(), LINES_PER_CORE_S_MIN, "lines/s"),
        method: format!(
            "The example `ingest` of cupola-signals: {LINES} lines of 80 bytes from ten sources are appended, \
             compressed and written to SQLite by one thread and its writer; lines by seconds of CPU. Its count at the \
             end: `{lost}`."
        ),
    })
}

/// From "… lines per second, NUMBER per core second".
fn rate(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("per core second"))?;
    line.split(", ").nth(1)?.split(' ').next()?.parse().ok()
}
