//! `cupola env NAME [--set KEY=VALUE] [--unset KEY]`.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::{Common, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// Set a variable; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Remove a variable; may be repeated
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let guid = target.app_guid(&arguments.name).await?;
    let path = format!("/v3/apps/{guid}/environment_variables");
    let changes = changes(&arguments)?;
    let variables: Value = if changes.is_empty() {
        target.client.get(&path).await?
    } else {
        let answer = target.client.patch(&path, json!({ "var": changes })).await?;
        output::say("hint: running instances keep their environment until `cupola restart`");
        answer
    };
    if arguments.common.json {
        return output::print_json(&variables["var"]);
    }
    let pairs = variables["var"].as_object().context("the API answered without variables")?;
    pairs.iter().try_for_each(|(key, value)| {
        output::print(&format!("{key}={}", value.as_str().unwrap_or_default()))
    })
}

fn changes(arguments: &Arguments) -> anyhow::Result<Map<String, Value>> {
    let mut changes = Map::new();
    for pair in &arguments.set {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("`{pair}` has no `=`; write --set KEY=VALUE")
        };
        changes.insert(key.to_owned(), json!(value));
    }
    changes.extend(arguments.unset.iter().map(|key| (key.clone(), Value::Null)));
    Ok(changes)
}
