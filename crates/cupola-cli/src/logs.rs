//! `cupola logs NAME`.

use std::time::Duration;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use clap::Args;
use serde_json::Value;

use crate::{Common, client::Client, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// Print the newest lines and end, instead of following
    #[arg(long)]
    recent: bool,
    /// How many of the newest lines to begin with
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    lines: u16,
    #[command(flatten)]
    common: Common,
}

/// How often new lines are asked for.
const PERIOD: Duration = Duration::from_millis(250);

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let json = arguments.common.json;
    let mut next = show_newest(&target.client, &app, arguments.lines, json).await?;
    if arguments.recent {
        return Ok(());
    }
    loop {
        tokio::time::sleep(PERIOD).await;
        let batch = since(&target.client, &app, next).await?;
        next = show(&batch, next, json)?;
    }
}

/// Prints the newest lines and returns the time from which on lines are new.
async fn show_newest(client: &Client, app: &str, lines: u16, json: bool) -> anyhow::Result<i64> {
    let query = format!("limit={lines}&descending=true");
    let mut batch = read(client, app, &query).await?;
    batch.reverse();
    show(&batch, 0, json)
}

/// Tells people the lines from `next` on, and returns the time after the last of them.
pub(crate) async fn tell_since(client: &Client, app: &str, next: i64) -> anyhow::Result<i64> {
    let batch = since(client, app, next).await?;
    for envelope in &batch {
        output::say(&line(envelope)?);
    }
    Ok(after(&batch, next))
}

async fn since(client: &Client, app: &str, next: i64) -> anyhow::Result<Vec<Value>> {
    read(client, app, &format!("limit=1000&start_time={next}")).await
}

/// The time after the newest line there is.
pub(crate) async fn end(client: &Client, app: &str) -> anyhow::Result<i64> {
    let newest = read(client, app, "limit=1&descending=true").await?;
    Ok(newest.first().and_then(timestamp).map_or(0, |at| at + 1))
}

async fn read(client: &Client, app: &str, query: &str) -> anyhow::Result<Vec<Value>> {
    let path = format!("/api/v1/read/{app}?envelope_types=LOG&{query}");
    let mut answer: Value = client.get(&path).await?;
    match answer["envelopes"]["batch"].take() {
        Value::Array(batch) => Ok(batch),
        _ => Ok(Vec::new()),
    }
}

fn show(batch: &[Value], next: i64, json: bool) -> anyhow::Result<i64> {
    for envelope in batch {
        if json {
            output::print(&envelope.to_string())?;
        } else {
            output::print(&line(envelope)?)?;
        }
    }
    Ok(after(batch, next))
}

/// The time after the last of these lines.
fn after(batch: &[Value], next: i64) -> i64 {
    batch.iter().filter_map(timestamp).max().map_or(next, |newest| newest + 1)
}

fn timestamp(envelope: &Value) -> Option<i64> {
    envelope["timestamp"].as_str()?.parse().ok()
}

/// `2026-11-24T08:12:38Z [APP/PROC/WEB/0] OUT listening`
fn line(envelope: &Value) -> anyhow::Result<String> {
    let nanos = timestamp(envelope).context("a log line has no time")?;
    let at =
        jiff::Timestamp::from_nanosecond(i128::from(nanos)).context("a log line has no time")?;
    let payload = envelope["log"]["payload"].as_str().unwrap_or_default();
    let message = BASE64_STANDARD.decode(payload).context("a log line is not base64")?;
    Ok(format!(
        "{at:.3} [{}/{}] {} {}",
        envelope["tags"]["source_type"].as_str().unwrap_or("?"),
        envelope["instance_id"].as_str().unwrap_or("0"),
        envelope["log"]["type"].as_str().unwrap_or("OUT"),
        String::from_utf8_lossy(&message)
    ))
}
