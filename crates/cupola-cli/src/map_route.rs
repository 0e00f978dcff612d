//! `cupola map-route NAME HOST.DOMAIN[/PATH] [--weight PERCENT] [--option NAME=VALUE]`.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{Common, client::encode, find::guid, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// Like shop.apps.localhost or shop.apps.localhost/api
    route: String,
    /// The app's percentage of the requests; apps without one share the rest
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    weight: Option<u8>,
    /// How the route chooses instances, like loadbalancing=least-connection; an empty value removes it
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let (name, path) = match arguments.route.split_once('/') {
        Some((name, path)) => (name, format!("/{path}")),
        None => (arguments.route.as_str(), String::new()),
    };
    let (host, domain) = split(&target, name).await?;
    let route = route(&target, &host, &domain, &path).await?;
    set_options(&target, &guid(&route)?, &arguments.options).await?;
    let mut destination = json!({ "app": { "guid": app } });
    if let Some(weight) = arguments.weight {
        destination["weight"] = json!(weight);
    }
    let destinations = json!({ "destinations": [destination] });
    let address = format!("/v3/routes/{}/destinations", guid(&route)?);
    let answer: Value = target.client.post(&address, destinations).await?;
    if arguments.common.json {
        return output::print_json(&answer);
    }
    output::say(&format!("{} leads to {}", arguments.route, arguments.name));
    Ok(())
}

fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

async fn set_options(
    target: &Target,
    route: &str,
    options: &[(String, String)],
) -> anyhow::Result<()> {
    if options.is_empty() {
        return Ok(());
    }
    let value = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let options: serde_json::Map<_, _> =
        options.iter().map(|(name, text)| (name.clone(), value(text))).collect();
    let address = format!("/v3/routes/{route}");
    let _route: Value = target.client.patch(&address, json!({ "options": options })).await?;
    Ok(())
}

/// Host and domain of a name: the longest domain that it ends with.
async fn split(target: &Target, name: &str) -> anyhow::Result<(String, Value)> {
    let domains = target.all("/v3/domains").await?;
    let host = |domain: &Value| {
        let domain = domain["name"].as_str()?;
        if name == domain { Some("") } else { name.strip_suffix(domain)?.strip_suffix('.') }
    };
    let fitting = domains.iter().filter_map(|domain| Some((host(domain)?, domain)));
    match fitting.min_by_key(|(host, _)| host.len()) {
        Some((host, domain)) => Ok((host.to_owned(), domain.clone())),
        None => {
            let known: Vec<&str> = domains.iter().filter_map(|one| one["name"].as_str()).collect();
            bail!("`{name}` is in none of the domains: {}", known.join(", "))
        }
    }
}

/// The route, made if it is not there.
async fn route(target: &Target, host: &str, domain: &Value, path: &str) -> anyhow::Result<Value> {
    let domain = guid(domain)?;
    let query =
        format!("/v3/routes?domain_guids={domain}&hosts={}&paths={}", encode(host), encode(path));
    if let Some(route) = target.one(&query).await? {
        return Ok(route);
    }
    let space = target.space_guid().await?;
    let relationships = json!({
        "domain": { "data": { "guid": domain } },
        "space": { "data": { "guid": space } },
    });
    let mut body = json!({ "relationships": relationships });
    for (key, value) in [("host", host), ("path", path)] {
        if !value.is_empty() {
            body[key] = json!(value);
        }
    }
    target.client.post("/v3/routes", body).await.context("cannot make the route")
}
