//! `cupola delete NAME --yes`.

use anyhow::bail;
use clap::Args;
use http::Method;

use crate::{Common, client::Send, find::guid, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// Do it; without this flag it is only said what would go
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let routes = target.all(&format!("/v3/apps/{app}/routes")).await?;
    let urls: Vec<&str> = routes.iter().filter_map(|route| route["url"].as_str()).collect();
    if !arguments.yes {
        bail!(
            "this would delete {} and its routes: {}\n\nhint: `cupola delete {} --yes` does it",
            arguments.name,
            if urls.is_empty() { "none".to_owned() } else { urls.join(", ") },
            arguments.name
        );
    }
    for route in &routes {
        delete(&target, &format!("/v3/routes/{}", guid(route)?)).await?;
    }
    delete(&target, &format!("/v3/apps/{app}")).await?;
    output::say(&format!("{} is deleted", arguments.name));
    Ok(())
}

async fn delete(target: &Target, path: &str) -> anyhow::Result<()> {
    let answer = target.client.send(Method::DELETE, path, Send::Nothing).await?;
    target.client.finish(&answer).await
}
