//! `cupola app NAME`.

use clap::Args;
use serde_json::{Value, json};

use crate::{Common, commit, find::guid, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app(&arguments.name).await?;
    let app_guid = guid(&app)?;
    let processes = target.all(&format!("/v3/apps/{app_guid}/processes")).await?;
    let routes = target.all(&format!("/v3/apps/{app_guid}/routes")).await?;
    let deployed = target.all(&format!("/v3/apps/{app_guid}/revisions/deployed")).await?;
    let mut stats = Vec::new();
    for process in &processes {
        let path = format!("/v3/processes/{}/stats", guid(process)?);
        let answer: Value = target.client.get(&path).await?;
        stats.push(answer["resources"].clone());
    }
    if arguments.common.json {
        let all = json!({ "app": app, "processes": processes, "routes": routes,
                         "revisions": deployed, "stats": stats });
        return output::print_json(&all);
    }
    let urls: Vec<&str> = routes.iter().filter_map(|route| route["url"].as_str()).collect();
    let state = app["state"].as_str().unwrap_or_default().to_lowercase();
    output::print(&format!("name      {}", arguments.name))?;
    output::print(&format!("state     {state}"))?;
    output::print(&format!("routes    {}", urls.join(", ")))?;
    // The newest first: during a deployment two versions run.
    if let Some(commit) = deployed.first().and_then(commit::long) {
        output::print(&format!("commit    {commit}"))?;
    }
    let rows: Vec<Vec<String>> = stats.iter().flat_map(rows).collect();
    output::print("")?;
    let heads =
        ["process", "index", "state", "routable", "cpu", "memory", "disk", "uptime", "details"];
    output::print_table(&heads, &rows)
}

fn rows(stats: &Value) -> Vec<Vec<String>> {
    let instances = stats.as_array().into_iter().flatten();
    instances.map(row).collect()
}

fn row(instance: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let usage = &instance["usage"];
    vec![
        text(&instance["type"]),
        instance["index"].to_string(),
        text(&instance["state"]).to_lowercase(),
        instance["routable"].as_bool().map_or_else(String::new, |routable| routable.to_string()),
        usage["cpu"].as_f64().map_or_else(String::new, |cpu| format!("{:.1}%", cpu * 100.0)),
        of(&usage["mem"], &instance["mem_quota"]),
        of(&usage["disk"], &instance["disk_quota"]),
        instance["uptime"].as_u64().map_or_else(String::new, |seconds| format!("{seconds}s")),
        text(&instance["details"]),
    ]
}

/// Used and allowed, in MiB.
fn of(used: &Value, allowed: &Value) -> String {
    let mib = |bytes: u64| bytes / (1 << 20);
    match (used.as_u64(), allowed.as_u64()) {
        (Some(used), Some(allowed)) => format!("{} of {} MiB", mib(used), mib(allowed)),
        _ => String::new(),
    }
}
