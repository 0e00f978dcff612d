//! `cupola pull NAME [RUNG]`: the ladders of an app, and what it pulls from them.

use anyhow::{Context, bail};
use clap::Args;
use cupola_wire::ladders::{Ladder, Ladders, Rung};
use http::Method;
use serde_json::{Value, json};

use crate::{
    Common,
    client::{Send, encode},
    deploy,
    output::{self, say},
    target::Target,
};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// What to pull: second-instance, health-check, rolling-by-default or pinned-runtime
    rung: Option<String>,
    /// Set everything back to what it was before the rung was pulled
    #[arg(long, requires = "rung")]
    put_back: bool,
    /// What the health check asks for [default: /]
    #[arg(long, value_name = "PATH", requires = "rung", conflicts_with = "put_back")]
    endpoint: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// The only rung that counts from the next start of an instance on.
const HEALTH_CHECK: &str = "health-check";

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app(&arguments.name).await?;
    let guid = crate::find::guid(&app)?;
    let ladders: Ladders = match &arguments.rung {
        None => target.client.get(&format!("/cupola/v1/apps/{guid}/pull")).await?,
        Some(rung) => change(&target, &app, &guid, rung, &arguments).await?,
    };
    if arguments.common.json {
        return output::print_json(&ladders);
    }
    lines(&ladders).iter().try_for_each(|line| output::print(line))
}

/// Whether `push` and `restart` replace the instances of this app one by one without being told to.
pub(crate) async fn is_rolling_by_default(target: &Target, app: &str) -> anyhow::Result<bool> {
    let ladders: Ladders = target.client.get(&format!("/cupola/v1/apps/{app}/pull")).await?;
    Ok(ladders.rolling_by_default)
}

async fn change(
    target: &Target,
    app: &Value,
    guid: &str,
    rung: &str,
    arguments: &Arguments,
) -> anyhow::Result<Ladders> {
    let path = format!("/cupola/v1/apps/{guid}/pull/{}", encode(rung));
    let known = |error: anyhow::Error| {
        error.context(format!("`{rung}` of {} is left as it is", arguments.name))
    };
    let put_back = async || target.client.json(Method::DELETE, &path, Send::Nothing).await;
    let restarts = rung == HEALTH_CHECK && app["state"] == "STARTED";
    if arguments.put_back {
        let ladders = put_back().await.map_err(known)?;
        if restarts {
            say("replacing the instances one by one");
            deploy::roll(target, guid, json!({})).await?;
        }
        say(&format!("{rung} of {} is put back", arguments.name));
        return Ok(ladders);
    }
    let body = json!({ "endpoint": arguments.endpoint });
    let ladders = target.client.post(&path, body).await.map_err(known)?;
    if restarts {
        say("replacing the instances one by one");
        if let Err(error) = deploy::roll(target, guid, json!({})).await {
            put_back().await.context("the rung cannot be put back either")?;
            bail!("{error:#}\n\nhint: {rung} is put back; --endpoint names another path");
        }
    }
    say(&format!("{} has {rung}", arguments.name));
    if rung == "pinned-runtime" {
        say("it counts from the next build on");
    }
    if rung == "rolling-by-default" {
        say("`cf push` and `cf restart` do not know of it: give them --strategy rolling");
    }
    Ok(ladders)
}

fn lines(ladders: &Ladders) -> Vec<String> {
    ladders.ladders.iter().flat_map(ladder_lines).collect()
}

fn ladder_lines(ladder: &Ladder) -> Vec<String> {
    let mut lines = vec![ladder.name.clone()];
    if ladder.rungs.is_empty() {
        lines.push("  nothing to pull yet".to_owned());
    }
    let next = ladder.rungs.iter().find(|rung| !rung.has && rung.obstacle.is_none());
    for rung in &ladder.rungs {
        let is_next = next.is_some_and(|next| next.name == rung.name);
        lines.extend(rung_lines(rung, is_next));
    }
    lines
}

fn rung_lines(rung: &Rung, is_next: bool) -> Vec<String> {
    let state = match (rung.has, rung.pulled) {
        (true, true) => "pulled",
        (true, false) => "has",
        _ if is_next => "next",
        _ => "",
    };
    let detail = rung.detail.as_deref().map_or_else(String::new, |text| format!(" ({text})"));
    let mut lines = vec![format!("  {state:<7} {}{detail}: {}", rung.name, rung.gives)];
    match &rung.obstacle {
        Some(obstacle) => lines.push(format!("          not now: {obstacle}")),
        None if !rung.has => lines.push(format!("          costs {}", rung.costs)),
        None => {}
    }
    lines
}
