//! `cupola why NAME`.

use clap::Args;
use cupola_wire::why::{Why, WhyExit, WhyInstance, WhyReleasePhase};

use crate::{Common, cost, output, target::Target};

#[derive(Args)]
pub struct Arguments {
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let why: Why = target.client.get(&format!("/cupola/v1/apps/{app}/why")).await?;
    if arguments.common.json {
        return output::print_json(&why);
    }
    output::print(&format!("{} is wanted {}", why.app, why.desired.to_lowercase()))?;
    if let Some(build) = &why.failed_build {
        output::print(&format!("\nlast build failed at {}\n  {}", build.at, build.error))?;
    }
    if let Some(deployment) = &why.last_deployment {
        output::print(&format!("\nlast deployment: {}", deployment.status.to_lowercase()))?;
        for line in cost::lines(deployment) {
            output::print(&format!("  {line}"))?;
        }
    }
    if let Some(phase) = &why.release_phase {
        output::print(&format!("\nrelease phase\n  {}", phase_line(phase)))?;
    }
    output::print("\ninstances")?;
    if why.instances.is_empty() {
        output::print("  none")?;
    }
    for instance in &why.instances {
        output::print(&instance_line(instance))?;
    }
    output::print("\nlast exits")?;
    if why.exits.is_empty() {
        output::print("  none")?;
    }
    why.exits.iter().try_for_each(|exit| output::print(&exit_lines(exit)))
}

fn phase_line(phase: &WhyReleasePhase) -> String {
    match &phase.detail {
        Some(detail) => format!("{detail}. No instance of that release is started"),
        None => "is running; no instance of that release is started before it succeeds".to_owned(),
    }
}

fn instance_line(instance: &WhyInstance) -> String {
    let routable = if instance.routable { ", gets requests" } else { "" };
    let detail =
        instance.detail.as_deref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!(
        "  {}/{} {} since {}{routable}{detail}",
        instance.process, instance.index, instance.state, instance.since
    )
}

fn exit_lines(exit: &WhyExit) -> String {
    let memory = exit
        .memory_peak_bytes
        .map_or_else(String::new, |bytes| format!(", memory peak {} MiB", bytes / (1 << 20)));
    format!(
        "  {} {}/{} {}\n    up {} s{memory}; {}",
        exit.at, exit.process, exit.index, exit.cause, exit.uptime_s, exit.reaction
    )
}
