//! `cupola start|stop|restart NAME`.

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::{Common, deploy, find::guid, output, pull, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub struct RestartArguments {
    /// Start each new instance before an old one is stopped
    #[arg(long)]
    rolling: bool,
    #[command(flatten)]
    arguments: Arguments,
}

pub(crate) async fn restart(restart: RestartArguments) -> anyhow::Result<()> {
    let RestartArguments { rolling, arguments } = restart;
    let target = Target::resolve(&arguments.common)?;
    let app = target.app(&arguments.name).await?;
    let (is_started, app) = (app["state"] == "STARTED", guid(&app)?);
    let is_rolling = rolling || (is_started && pull::is_rolling_by_default(&target, &app).await?);
    if !is_rolling {
        return run("restart", arguments).await;
    }
    let deployment = deploy::roll(&target, &app, json!({})).await?;
    if arguments.common.json {
        return output::print_json(&deployment);
    }
    output::say(&format!("{} is running", arguments.name));
    Ok(())
}

pub(crate) async fn run(verb: &str, arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let guid = target.app_guid(&arguments.name).await?;
    let app = act(&target, &guid, verb).await?;
    if arguments.common.json {
        return output::print_json(&app);
    }
    let name = arguments.name;
    match verb {
        "stop" => output::say(&format!("{name} is stopped")),
        _ => output::say(&format!("{name} is running")),
    }
    Ok(())
}

/// Asks for it and, unless it is a stop, waits until an instance of each process runs.
pub(crate) async fn act(target: &Target, app: &str, verb: &str) -> anyhow::Result<Value> {
    let path = format!("/v3/apps/{app}/actions/{verb}");
    let answer = target.client.post(&path, json!({})).await?;
    if verb != "stop" {
        wait_until_running(target, app).await?;
    }
    Ok(answer)
}

async fn wait_until_running(target: &Target, app: &str) -> anyhow::Result<()> {
    for process in target.all(&format!("/v3/apps/{app}/processes")).await? {
        if process["instances"] == 0 {
            continue;
        }
        let path = format!("/v3/processes/{}/stats", guid(&process)?);
        loop {
            // The server holds this request while something is starting.
            let stats: Value = target.client.get(&path).await?;
            match verdict(&stats) {
                Verdict::Running => break,
                Verdict::Starting => {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await
                }
                Verdict::Crashed(details) => bail!(
                    "the process `{}` does not run: {details}\n\nhint: `cupola why` and `cupola logs` tell more",
                    process["type"].as_str().unwrap_or_default()
                ),
            }
        }
    }
    Ok(())
}

enum Verdict {
    Running,
    Starting,
    Crashed(String),
}

/// One running instance is enough; all crashed is a failure; anything else goes on.
fn verdict(stats: &Value) -> Verdict {
    let instances: Vec<&Value> = stats["resources"].as_array().into_iter().flatten().collect();
    let is = |state: &'static str| move |instance: &&&Value| instance["state"] == state;
    if instances.iter().any(|instance| instance["state"] == "RUNNING") {
        return Verdict::Running;
    }
    let crashed = instances.iter().find(is("CRASHED"));
    match crashed {
        Some(first) if instances.iter().all(|instance| instance["state"] == "CRASHED") => {
            Verdict::Crashed(first["details"].as_str().unwrap_or("it crashed").to_owned())
        }
        _ => Verdict::Starting,
    }
}
