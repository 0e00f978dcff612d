//! `cupola rollback NAME`: back to an earlier revision, with what surrounded it.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use clap::Args;
use cupola_wire::restore::{Restore, RestoredProcess, Scale};
use serde_json::{Value, json};

use crate::{
    Common, deploy,
    find::guid,
    output::{self, say},
    target::Target,
};

#[derive(Args)]
pub struct Arguments {
    name: String,
    /// The revision to go back to; the last one before the present one that ran if not said
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    /// Pause when one instance is of the old revision again; `cf continue-deployment` goes on
    #[arg(long)]
    canary: bool,
    /// Do not ask, and go on although something cannot be as it was
    #[arg(short, long)]
    yes: bool,
    /// Only say what would change
    #[arg(long, conflicts_with_all = ["yes", "canary"])]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let revisions = target.all(&format!("/v3/apps/{app}/revisions?order_by=-created_at")).await?;
    let wanted = match arguments.to {
        Some(version) => version,
        None => one_before(&target, &app, &revisions).await?,
    };
    let revision = revisions.iter().find(|one| one["version"] == wanted);
    let revision = revision.with_context(|| no_such(wanted, &revisions))?;
    let path = format!("/cupola/v1/revisions/{}/restore", guid(revision)?);
    let preview: Restore = target.client.get(&path).await?;
    if let Some(refusal) = &preview.refusal {
        bail!("{}", refusal.trim_end_matches('.'));
    }
    if arguments.dry_run && arguments.common.json {
        return output::print_json(&preview);
    }
    lines(&preview).iter().for_each(|line| say(line));
    if arguments.dry_run || !is_confirmed(&arguments, &preview)? {
        return Ok(());
    }
    let strategy = if arguments.canary { "canary" } else { "rolling" };
    let partial = accepts_losses(arguments.yes, &preview);
    let body = json!({ "partial": partial, "strategy": strategy });
    let deployment: Value = target.client.post(&path, body).await?;
    let deployment = deploy::follow(&target, &deployment).await?;
    if arguments.common.json {
        return output::print_json(&deployment);
    }
    let made = &deployment["revision"]["version"];
    let name = &arguments.name;
    if deployment["status"]["reason"] == "PAUSED" {
        say(&format!("{name} runs an instance of revision {wanted}, as revision {made}"));
        say(&format!(
            "\nhint: `cf continue-deployment {name}` goes on, `cf cancel-deployment` back"
        ));
    } else {
        say(&format!("{name} runs revision {wanted} again, as revision {made}"));
    }
    Ok(())
}

/// Asks a person. A program is not asked: it goes on if everything can be as it was.
fn is_confirmed(arguments: &Arguments, preview: &Restore) -> anyhow::Result<bool> {
    if arguments.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        if preview.lost.is_empty() {
            return Ok(true);
        }
        bail!("not everything can be as it was\n\nhint: --yes goes on without it");
    }
    output::say_beginning("Go on? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let is_yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !is_yes {
        say("nothing was changed");
    }
    Ok(is_yes)
}

/// Whether to go on without what cannot be as it was. Who was shown no loss has accepted none: what
/// is lost since is refused by the platform.
fn accepts_losses(yes: bool, preview: &Restore) -> bool {
    yes || !preview.lost.is_empty()
}

/// What changes, for people.
fn lines(preview: &Restore) -> Vec<String> {
    let present = preview.present.map_or_else(String::new, |now| format!(" from revision {now}"));
    let mut lines =
        vec![format!("{} goes{present} to revision {}:", preview.app, preview.revision)];
    if preview.code {
        lines.push("  code         another droplet".to_owned());
    }
    let mut list = |what: &str, names: &[String]| {
        lines.extend(names.iter().map(|name| format!("  {what:<12} {name}")));
    };
    list("variable", &preview.environment);
    list("command", &preview.commands);
    list("sidecar", &preview.sidecars);
    list("scale", &preview.processes.iter().flat_map(scales).collect::<Vec<_>>());
    list("route back", &preview.routes_added);
    list("route away", &preview.routes_removed);
    list("route set", &preview.routes_changed);
    list("bind", &preview.bindings_added);
    list("unbind", &preview.bindings_removed);
    let lost = preview.lost.iter().map(|lost| format!("{}: {}", lost.what, lost.why));
    list("CANNOT", &lost.collect::<Vec<_>>());
    if lines.len() == 1 {
        lines.push("  nothing differs".to_owned());
    }
    lines
}

/// What changes about a process, each in words.
fn scales(process: &RestoredProcess) -> Vec<String> {
    let RestoredProcess { process: kind, from, to, checks } = process;
    let none = Scale { instances: 0, ..to.clone() };
    let from = from.as_ref().unwrap_or(&none);
    let steps = [
        ("instances", i64::from(from.instances), i64::from(to.instances)),
        ("MiB memory", i64::from(from.memory_in_mb), i64::from(to.memory_in_mb)),
        ("MiB disk", i64::from(from.disk_in_mb), i64::from(to.disk_in_mb)),
        (
            "log bytes/s",
            from.log_rate_limit_in_bytes_per_second,
            to.log_rate_limit_in_bytes_per_second,
        ),
    ];
    let changed = steps.into_iter().filter(|(_, from, to)| from != to);
    let mut lines: Vec<String> =
        changed.map(|(unit, from, to)| format!("{kind} {from} -> {to} {unit}")).collect();
    if *checks {
        lines.push(format!("{kind} health checks as they were"));
    }
    lines
}

async fn one_before(target: &Target, app: &str, revisions: &[Value]) -> anyhow::Result<u64> {
    let deployed = target.all(&format!("/v3/apps/{app}/revisions/deployed")).await?;
    let version = |revision: &Value| revision["version"].as_u64();
    let present = deployed.iter().filter_map(version).max();
    let present = present.context("the app does not run\n\nhint: say which revision with --to")?;
    let deployments = target.all(&format!("/v3/deployments?app_guids={app}")).await?;
    let ran = revisions.iter().filter(|one| !never_ran(one, &deployments));
    let before = ran.filter_map(version).filter(|one| *one < present).max();
    before.context("there is no revision before the present one that ran")
}

/// Whether every deployment of a revision was cancelled. One that was never deployed was started.
fn never_ran(revision: &Value, deployments: &[Value]) -> bool {
    let of_it = deployments.iter().filter(|one| one["revision"]["guid"] == revision["guid"]);
    let ends: Vec<&Value> = of_it.map(|one| &one["status"]["reason"]).collect();
    !ends.is_empty() && ends.iter().all(|reason| **reason == "CANCELED")
}

fn no_such(wanted: u64, revisions: &[Value]) -> String {
    let known: Vec<String> = revisions.iter().map(|one| one["version"].to_string()).collect();
    format!("there is no revision {wanted}\n\nhint: there are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_whose_deployments_were_all_cancelled_never_ran() {
        let deployment = |revision: &str, reason: &str| json!({ "revision": { "guid": revision }, "status": { "reason": reason } });
        let deployments =
            [deployment("a", "CANCELED"), deployment("b", "CANCELED"), deployment("b", "DEPLOYED")];

        assert!(never_ran(&json!({ "guid": "a" }), &deployments));
        assert!(!never_ran(&json!({ "guid": "b" }), &deployments));
        assert!(!never_ran(&json!({ "guid": "started" }), &deployments));
    }

    fn preview(lost: Value) -> Restore {
        serde_json::from_value(json!({
            "app": "shop", "revision": 3, "present": 4, "code": true,
            "environment": [], "commands": [], "processes": [],
            "routes_added": [], "routes_removed": [], "routes_changed": [],
            "bindings_added": [], "bindings_removed": [],
            "lost": lost, "refusal": null,
        }))
        .unwrap()
    }

    #[test]
    fn losses_are_accepted_only_by_who_was_shown_them_or_said_yes() {
        let whole = preview(json!([]));
        let lossy = preview(json!([{ "what": "route a.test", "why": "its domain is deleted" }]));

        assert!(!accepts_losses(false, &whole));
        assert!(accepts_losses(true, &whole));
        assert!(accepts_losses(false, &lossy));
    }

    #[test]
    fn preview_says_each_change_in_a_line_of_its_own() {
        let preview: Restore = serde_json::from_value(json!({
            "app": "shop", "revision": 3, "present": 4, "code": true,
            "environment": ["COLOUR"], "commands": [], "sidecars": ["proxy"],
            "processes": [{
                "process": "web", "checks": false,
                "from": { "instances": 4, "memory_in_mb": 64, "disk_in_mb": 64,
                          "log_rate_limit_in_bytes_per_second": -1 },
                "to": { "instances": 2, "memory_in_mb": 64, "disk_in_mb": 64,
                        "log_rate_limit_in_bytes_per_second": -1 },
            }],
            "routes_added": ["a.test"], "routes_removed": ["b.test"], "routes_changed": [],
            "bindings_added": ["db"], "bindings_removed": [],
            "lost": [{ "what": "route c.test", "why": "its domain is deleted" }],
            "refusal": null,
        }))
        .unwrap();

        assert_eq!(
            lines(&preview),
            [
                "shop goes from revision 4 to revision 3:",
                "  code         another droplet",
                "  variable     COLOUR",
                "  sidecar      proxy",
                "  scale        web 4 -> 2 instances",
                "  route back   a.test",
                "  route away   b.test",
                "  bind         db",
                "  CANNOT       route c.test: its domain is deleted",
            ]
        );
    }
}
