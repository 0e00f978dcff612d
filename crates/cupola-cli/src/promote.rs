//! `cupola promote NAME --from SPACE --to SPACE`: the same droplet in another space.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    Common,
    client::encode,
    deploy,
    find::{guid, text},
    lifecycle,
    output::{self, say},
    target::Target,
};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// The space that it runs in now
    #[arg(long, value_name = "SPACE")]
    from: String,
    /// The space that it shall run in too; its app has variables, scale and routes of its own
    #[arg(long, value_name = "SPACE")]
    to: String,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut target = Target::resolve(&arguments.common)?;
    let name = &arguments.name;
    target.space.clone_from(&arguments.from);
    let source = target.app_guid(name).await?;
    let droplet: Value = target
        .client
        .get(&format!("/v3/apps/{source}/droplets/current"))
        .await
        .with_context(|| format!("`{name}` in `{}` has nothing to promote", arguments.from))?;
    target.space.clone_from(&arguments.to);
    let space = target.space_guid().await?;
    let listed = format!("/v3/apps?names={}&space_guids={space}", encode(name));
    let app = target.one(&listed).await?.with_context(|| {
        format!(
            "there is no app `{name}` in `{}`\n\nhint: make it once, with what is its own there: \
             `cf target -s {}` and `cf push {name} --no-start`",
            arguments.to, arguments.to
        )
    })?;
    let id = guid(&app)?;
    let copy = copied(&target, &id, &droplet).await?;
    say(&format!("{name} in {} gets {}", arguments.to, digest(&copy)?));
    if app["state"] == "STARTED" {
        deploy::roll(&target, &id, json!({ "droplet": { "guid": guid(&copy)? } })).await?;
    } else {
        let current = json!({ "data": { "guid": guid(&copy)? } });
        let path = format!("/v3/apps/{id}/relationships/current_droplet");
        target.client.patch::<Value>(&path, current).await?;
        lifecycle::act(&target, &id, "start").await?;
    }
    if arguments.common.json {
        return output::print_json(&copy);
    }
    say(&format!("{name} runs in {} what runs in {}", arguments.to, arguments.from));
    Ok(())
}

/// Copies the droplet for the app, and makes sure that it is the same.
async fn copied(target: &Target, app: &str, droplet: &Value) -> anyhow::Result<Value> {
    let path = format!("/v3/droplets?source_guid={}", guid(droplet)?);
    let body = json!({ "relationships": { "app": { "data": { "guid": app } } } });
    let copy: Value = target.client.post(&path, body).await?;
    if digest(&copy)? != digest(droplet)? {
        bail!("the copy has another digest than the droplet; nothing was changed");
    }
    Ok(copy)
}

fn digest(droplet: &Value) -> anyhow::Result<String> {
    let checksum = &droplet["checksum"];
    Ok(format!("{}:{}", text(checksum, "type")?, text(checksum, "value")?))
}
