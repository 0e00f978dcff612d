//! Deployments: replacing the instances of an app one by one, and `cupola rollback`.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    Common, cost,
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
    #[command(flatten)]
    common: Common,
}

/// Goes back to code, environment and commands of an earlier revision.
pub(crate) async fn rollback(arguments: Arguments) -> anyhow::Result<()> {
    let target = Target::resolve(&arguments.common)?;
    let app = target.app_guid(&arguments.name).await?;
    let revisions = target.all(&format!("/v3/apps/{app}/revisions?order_by=-created_at")).await?;
    let wanted = match arguments.to {
        Some(version) => version,
        None => one_before(&target, &app, &revisions).await?,
    };
    let revision = revisions.iter().find(|one| one["version"] == wanted);
    let revision = revision.with_context(|| no_such(wanted, &revisions))?;
    if revision["deployable"] == false {
        bail!("the droplet of revision {wanted} is gone, so that it cannot run any more");
    }
    let deployment =
        roll(&target, &app, json!({ "revision": { "guid": guid(revision)? } })).await?;
    if arguments.common.json {
        return output::print_json(&deployment);
    }
    let made = &deployment["revision"]["version"];
    say(&format!("{} runs revision {wanted} again, as revision {made}", arguments.name));
    Ok(())
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

/// As long as `cf` waits for a start.
const START_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// Replaces the instances one by one and waits until that is done. `what` names a droplet, a
/// revision, or nothing for the app as it is set.
pub(crate) async fn roll(target: &Target, app: &str, what: Value) -> anyhow::Result<Value> {
    let mut body = json!({ "relationships": { "app": { "data": { "guid": app } } } });
    if let (Some(body), Value::Object(what)) = (body.as_object_mut(), what) {
        body.extend(what);
    }
    let deployment: Value = target.client.post("/v3/deployments", body).await?;
    let path = format!("/v3/deployments/{}", guid(&deployment)?);
    let begun = tokio::time::Instant::now();
    let mut told = false;
    loop {
        if begun.elapsed() > START_TIME_MAX && !told {
            told = true;
            say("the new instances do not become ready: going back to the old ones");
            let cancel = format!("{path}/actions/cancel");
            target.client.post::<Value>(&cancel, json!({})).await?;
        }
        // The server holds this request while the deployment goes on.
        let deployment: Value = target.client.get(&path).await?;
        if deployment["status"]["value"] == "FINALIZED" {
            cost::tell(target, &deployment).await;
        }
        match deployment["status"]["reason"].as_str() {
            Some("DEPLOYED") => return Ok(deployment),
            Some("CANCELED") => bail!(
                "the new instances do not run, and the old ones serve on: {}\n\nhint: `cupola why` \
                 and `cupola logs` tell more",
                deployment["status"]["details"]["error"].as_str().unwrap_or("it was cancelled")
            ),
            Some("SUPERSEDED") => bail!("something newer took the place of this deployment"),
            _ => {}
        }
    }
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
}
