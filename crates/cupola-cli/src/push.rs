//! `cupola push NAME`: from a folder to a running app.

mod archive;
mod commit;
mod ignore;
mod manifest;
mod upload;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::{
    Common,
    client::Send,
    deploy,
    find::guid,
    lifecycle, logs,
    output::{self, say},
    pull,
    target::Target,
};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// The folder or zip with the app's files
    #[arg(short, long, default_value = ".")]
    path: PathBuf,
    /// The start command of the web process
    #[arg(short, long)]
    command: Option<String>,
    /// A built-in buildpack by name, or a git URL; may be repeated. Default: detect
    #[arg(short, long, value_name = "BUILDPACK")]
    buildpack: Vec<String>,
    #[arg(short, long)]
    instances: Option<u32>,
    /// MiB per instance
    #[arg(short, long, value_name = "MIB")]
    memory: Option<u32>,
    /// MiB per instance
    #[arg(short = 'k', long, value_name = "MIB")]
    disk: Option<u32>,
    /// Make no route
    #[arg(long)]
    no_route: bool,
    /// Build, but do not start
    #[arg(long)]
    no_start: bool,
    /// Start each new instance before an old one is stopped
    #[arg(long, conflicts_with = "no_start")]
    rolling: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let space = target.space_guid().await?;
    let manifest = manifest::of(&arguments)?;
    let archive = archive::Source::open(&arguments.path)?;
    let commit = commit::Commit::of(&arguments.path);
    if let Some(commit) = &commit {
        say(&format!("pushing {}", commit.words()));
    }
    apply(&target, &space, manifest).await?;
    let app = target.app_guid(&arguments.name).await?;
    let package = upload::package(&target, &app, &archive, commit.as_ref()).await?;
    let droplet = build(&target, &app, &package).await?;
    // A pulled capability: see `cupola pull`. Where nothing runs, there is nothing to replace.
    let is_rolling =
        arguments.rolling || (!arguments.no_start && is_rolling(&target, &app).await?);
    if is_rolling {
        say("replacing the instances one by one");
        deploy::roll(&target, &app, json!({ "droplet": { "guid": droplet } })).await?;
        return tell(&target, &arguments, &app).await;
    }
    let current = json!({ "data": { "guid": droplet } });
    let path = format!("/v3/apps/{app}/relationships/current_droplet");
    target.client.patch::<Value>(&path, current).await?;
    if arguments.no_start {
        say(&format!("{} is built; `cupola start {}` runs it", arguments.name, arguments.name));
    } else {
        say("starting");
        lifecycle::act(&target, &app, "restart").await?;
        say(&format!("{} is running", arguments.name));
    }
    tell(&target, &arguments, &app).await
}

async fn is_rolling(target: &Target, app: &str) -> anyhow::Result<bool> {
    let row: Value = target.client.get(&format!("/v3/apps/{app}")).await?;
    Ok(row["state"] == "STARTED" && pull::is_rolling_by_default(target, app).await?)
}

async fn apply(target: &Target, space: &str, manifest: String) -> anyhow::Result<()> {
    let path = format!("/v3/spaces/{space}/actions/apply_manifest");
    let send = Send::Text { content_type: "application/x-yaml", text: manifest };
    let answer = target.client.send(Method::POST, &path, send).await?;
    target.client.finish(&answer).await.context("the manifest cannot be applied")
}

/// Builds the package, tells the build's lines meanwhile, and returns the droplet.
async fn build(target: &Target, app: &str, package: &str) -> anyhow::Result<String> {
    say("building");
    let mut next = logs::end(&target.client, app).await?;
    let new = json!({ "package": { "guid": package } });
    let build: Value = target.client.post("/v3/builds", new).await?;
    let path = format!("/v3/builds/{}", guid(&build)?);
    loop {
        // The server holds this request while the build goes on; its lines are shown meanwhile.
        let answer = target.client.get::<Value>(&path);
        tokio::pin!(answer);
        let build = loop {
            tokio::select! {
                build = answer.as_mut() => break build?,
                () = tokio::time::sleep(std::time::Duration::from_millis(200)) => {
                    next = logs::tell_since(&target.client, app, next).await?;
                }
            }
        };
        match build["state"].as_str() {
            Some("STAGED") => {
                logs::tell_since(&target.client, app, next).await?;
                return guid(&build["droplet"]);
            }
            Some("FAILED") => {
                logs::tell_since(&target.client, app, next).await?;
                bail!(
                    "the build failed: {}",
                    build["error"].as_str().unwrap_or("no reason is told")
                );
            }
            _ => {}
        }
    }
}

/// What programs want to know: where the app is.
async fn tell(target: &Target, arguments: &Arguments, app: &str) -> anyhow::Result<()> {
    let routes = target.all(&format!("/v3/apps/{app}/routes")).await?;
    let urls: Vec<&str> = routes.iter().filter_map(|route| route["url"].as_str()).collect();
    if arguments.common.json {
        return output::print_json(&json!({ "guid": app, "routes": urls }));
    }
    urls.into_iter().try_for_each(output::print)
}
