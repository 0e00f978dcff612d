//! `cupola status`.

use clap::Args;
use cupola_wire::status::Status;

use crate::{Common, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let status: Status = target.client.get("/cupola/v1/status").await?;
    if arguments.common.json {
        return output::print_json(&status);
    }
    let Status { version, api, apps_domain, apps, router, logs, limits } = status;
    output::print(&format!("cupola {version}, API {api}, apps under {apps_domain}"))?;
    output::print(&format!("apps       {} started, {} stopped", apps.started, apps.stopped))?;
    output::print(&format!(
        "instances  {} running, {} starting, {} crashed; {} builds",
        apps.instances_running,
        apps.instances_starting,
        apps.instances_crashed,
        apps.builds_running
    ))?;
    let serving = if router.is_serving { "serving" } else { "NOT SERVING" };
    output::print(&format!(
        "router     {serving}, {} requests in flight, {} restarts, {} access lines lost",
        router.in_flight, router.restarts, router.access_lines_lost
    ))?;
    output::print(&format!(
        "logs       {} lines taken, {} lost, {} removed for age or size",
        logs.taken, logs.lost, logs.evicted
    ))?;
    output::print("limits")?;
    limits.iter().try_for_each(|limit| output::print(&format!("  {limit}")))
}
