//! `cupola changes NAME`: who changed what in an app, and what came of it.

use clap::Args;
use cupola_wire::{
    changes::{Change, ChangeDeployment},
    list::List,
};

use crate::{Common, client::encode, output, since::Since, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// Only what changed since then: a time such as 2030-01-31T23:59:59Z, or 90m, 24h, 7d ago.
    /// What is older than the platform keeps events (31 days by default) is not told
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// At most so many, the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 50,
          value_parser = clap::value_parser!(u16).range(1..=5000))]
    limit: u16,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let mut path = format!("/cupola/v1/apps/{app}/changes?per_page={}", arguments.limit);
    if let Some(since) = &arguments.since {
        path.push_str(&format!("&since={}", encode(&since.time()?)));
    }
    let list: List<Change> = target.client.get(&path).await?;
    if arguments.common.json {
        return output::print_json(&list.resources);
    }
    let rows: Vec<Vec<String>> = list.resources.iter().map(row).collect();
    output::print_table(&["time", "who", "kind", "what"], &rows)?;
    let more = list.pagination.total_results.saturating_sub(rows.len() as u64);
    if more > 0 {
        output::say(&format!("\nhint: there are {more} more before; --limit shows them"));
    }
    Ok(())
}

fn row(change: &Change) -> Vec<String> {
    let outcome = change.deployment.as_ref().map_or_else(String::new, outcome);
    let what = format!("{}{outcome}", change.summary);
    // A cause may have several lines, and a change is one.
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    vec![change.at.clone(), change.who.clone(), change.kind.clone(), what]
}

fn outcome(deployment: &ChangeDeployment) -> String {
    let error = deployment.error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
    format!("; {} at {}{error}", deployment.state.to_lowercase(), deployment.since)
}
