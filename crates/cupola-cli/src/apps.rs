//! `cupola apps`.

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
    let apps = target.all(&format!("/v3/apps?space_guids={space}&order_by=name")).await?;
    if arguments.common.json {
        return output::print_json(&apps);
    }
    let processes = target.all(&format!("/v3/processes?space_guids={space}")).await?;
    let routes = target.all(&format!("/v3/routes?space_guids={space}")).await?;
    let rows = apps.iter().map(|app| {
        let guid = text(app, "guid")?;
        Ok(vec![
            text(app, "name")?,
            text(app, "state")?.to_lowercase(),
            processes_of(&guid, &processes),
            routes_of(&guid, &routes),
        ])
    });
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    output::print_table(&["name", "state", "processes", "routes"], &rows)
}

fn processes_of(app: &str, processes: &[Value]) -> String {
    let own = processes.iter().filter(|process| {
        process["relationships"]["app"]["data"]["guid"] == app && process["instances"] != 0
    });
    let short = own.map(|process| {
        format!("{}:{}", process["type"].as_str().unwrap_or_default(), process["instances"])
    });
    short.collect::<Vec<_>>().join(", ")
}

fn routes_of(app: &str, routes: &[Value]) -> String {
    let leads_here = |route: &&Value| {
        let destinations = route["destinations"].as_array();
        destinations.is_some_and(|all| all.iter().any(|one| one["app"]["guid"] == app))
    };
    let urls = routes.iter().filter(leads_here).filter_map(|route| route["url"].as_str());
    urls.collect::<Vec<_>>().join(", ")
}
