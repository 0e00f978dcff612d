//! `cupola scale NAME`.

use anyhow::bail;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::{Common, lifecycle, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    #[arg(short, long)]
    instances: Option<u32>,
    /// MiB per instance; restarts the app
    #[arg(short, long, value_name = "MIB")]
    memory: Option<u32>,
    /// MiB per instance; restarts the app
    #[arg(short = 'k', long, value_name = "MIB")]
    disk: Option<u32>,
    /// Which process
    #[arg(long, default_value = "web")]
    process: String,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let wanted = [
        ("instances", arguments.instances),
        ("memory_in_mb", arguments.memory),
        ("disk_in_mb", arguments.disk),
    ];
    let wanted: Map<String, Value> = wanted
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), json!(value?))))
        .collect();
    if wanted.is_empty() {
        bail!("nothing to change: give --instances, --memory or --disk");
    }
    let target = Target::resolve(&arguments.common)?;
    let guid = target.app_guid(&arguments.name).await?;
    let path = format!("/v3/apps/{guid}/processes/{}/actions/scale", arguments.process);
    let process: Value = target.client.post(&path, Value::Object(wanted)).await?;
    if arguments.memory.is_some() || arguments.disk.is_some() {
        lifecycle::act(&target, &guid, "restart").await?;
    }
    if arguments.common.json {
        return output::print_json(&process);
    }
    output::say(&format!(
        "{} of {}: {} instances with {} MiB memory and {} MiB disk each",
        arguments.process,
        arguments.name,
        process["instances"],
        process["memory_in_mb"],
        process["disk_in_mb"]
    ));
    Ok(())
}
