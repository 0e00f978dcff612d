//! Deployments: replacing the instances of an app one by one.

use anyhow::bail;
use serde_json::{Value, json};

use crate::{cost, find::guid, output::say, target::Target};

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
    follow(target, &deployment).await
}

/// Waits until a deployment has ended or pauses.
pub(crate) async fn follow(target: &Target, deployment: &Value) -> anyhow::Result<Value> {
    let path = format!("/v3/deployments/{}", guid(deployment)?);
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
            Some("DEPLOYED" | "PAUSED") => return Ok(deployment),
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
