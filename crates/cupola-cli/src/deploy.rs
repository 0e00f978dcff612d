//! Deployments: replacing the instances of an app one by one.

use std::time::Duration;

use anyhow::bail;
use cupola_wire::why::Why;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{cost, find::guid, output::say, target::Target};

/// As long as `cf` waits for a start.
const START_TIME_MAX: Duration = Duration::from_secs(5 * 60);

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
    let app = deployment["relationships"]["app"]["data"]["guid"].as_str().unwrap_or_default();
    let mut patience = Patience::new(Instant::now());
    let mut is_cancelled = false;
    loop {
        let was_releasing = patience.is_releasing;
        let is_over = patience.is_over(Instant::now(), is_releasing(target, app).await);
        if patience.is_releasing && !was_releasing {
            say(
                "the release phase is running: the new instances are started when it has succeeded",
            );
        }
        if is_over && !is_cancelled {
            is_cancelled = true;
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

/// Whether the release phase of the deployment runs. A platform that does not tell has none.
async fn is_releasing(target: &Target, app: &str) -> bool {
    let why = target.client.get::<Why>(&format!("/cupola/v1/apps/{app}/why")).await;
    why.is_ok_and(|why| why.release_phase.is_some_and(|phase| phase.state == "PENDING"))
}

/// How long the new instances have had to become ready. The release phase takes as long as it takes,
/// and until it has ended there are none.
struct Patience {
    since: Instant,
    is_releasing: bool,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self { since: now, is_releasing: false }
    }

    fn is_over(&mut self, now: Instant, is_releasing: bool) -> bool {
        // It has ended at some time since it was looked at last.
        if is_releasing || self.is_releasing {
            self.since = now;
        }
        self.is_releasing = is_releasing;
        now.duration_since(self.since) > START_TIME_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_the_release_phase_does_not_count_as_that_of_the_instances() {
        let begun = Instant::now();
        let at = |minutes: u64| begun + Duration::from_secs(minutes * 60);
        let mut patience = Patience::new(begun);

        let during = [patience.is_over(at(1), true), patience.is_over(at(30), true)];
        let released = patience.is_over(at(31), false);
        let soon_after = patience.is_over(at(36), false);
        let long_after = patience.is_over(at(37), false);

        assert_eq!(during, [false, false]);
        assert!(!released && !soon_after);
        assert!(long_after);
    }

    #[test]
    fn instances_without_a_release_phase_have_five_minutes() {
        let begun = Instant::now();
        let mut patience = Patience::new(begun);

        assert!(!patience.is_over(begun + START_TIME_MAX, false));
        assert!(patience.is_over(begun + START_TIME_MAX + Duration::from_secs(1), false));
    }
}
