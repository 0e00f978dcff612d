//! `cupola routes`.

use clap::Args;
use serde_json::Value;

use crate::{Common, find::text, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let space = target.space_guid().await?;
    let routes = target.all(&format!("/v3/routes?space_guids={space}")).await?;
    if arguments.common.json {
        return output::print_json(&routes);
    }
    let apps = target.all(&format!("/v3/apps?space_guids={space}")).await?;
    let rows = routes.iter().map(|route| Ok(vec![text(route, "url")?, apps_of(route, &apps)]));
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    output::print_table(&["route", "apps"], &rows)
}

fn apps_of(route: &Value, apps: &[Value]) -> String {
    let name = |destination: &Value| {
        let app = apps.iter().find(|app| app["guid"] == destination["app"]["guid"])?;
        app["name"].as_str().map(str::to_owned)
    };
    let destinations = route["destinations"].as_array().into_iter().flatten();
    destinations.filter_map(name).collect::<Vec<_>>().join(", ")
}
