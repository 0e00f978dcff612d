//! What a deployment cost the users, told when it ends.

use std::time::Duration;

use cupola_wire::costs::{CostStretch, DeploymentCost};
use serde_json::Value;

use crate::{find::guid, output::say, target::Target};

/// How long the first requests after a deployment are waited for, where there were some during it.
const FIRST_AFTER: Duration = Duration::from_secs(3);

/// Tells it, or why it cannot: a deployment that succeeded does not fail by this.
pub(crate) async fn tell(target: &Target, deployment: &Value) {
    match read(target, deployment).await {
        Ok(cost) => lines(&cost).iter().for_each(|line| say(line)),
        Err(error) => say(&format!("what it cost the users is not known: {error:#}")),
    }
}

async fn read(target: &Target, deployment: &Value) -> anyhow::Result<DeploymentCost> {
    let path = format!("/cupola/v1/deployments/{}/cost", guid(deployment)?);
    let cost: DeploymentCost = target.client.get(&path).await?;
    let had_requests = cost.during.as_ref().is_some_and(|during| during.served > 0);
    if !had_requests || cost.is_final {
        return Ok(cost);
    }
    tokio::time::sleep(FIRST_AFTER).await;
    target.client.get(&path).await
}

pub(crate) fn lines(cost: &DeploymentCost) -> Vec<String> {
    let mut lines = vec!["requests of its users".to_owned()];
    let stretches = [("before", &cost.before), ("during", &cost.during), ("after", &cost.after)];
    lines.extend(stretches.map(|(name, stretch)| match stretch {
        Some(stretch) => format!("  {name}  {}", text(stretch)),
        None => format!("  {name}  unknown: nothing was counted"),
    }));
    if !cost.is_final {
        lines.push("  `cupola why` tells the whole minute after it".to_owned());
    }
    lines
}

fn text(stretch: &CostStretch) -> String {
    // To the second: reports come four times in one.
    let is_whole = stretch.seconds - stretch.counted_seconds < 1.0;
    let counted = if is_whole {
        String::new()
    } else {
        format!(", counted for {:.0} s of them", stretch.counted_seconds)
    };
    let mut parts = vec![
        format!("{:.0} s{counted}: {} served", stretch.seconds, stretch.served),
        format!("{} failed", stretch.failed),
    ];
    let more = [("errors of the app", stretch.app_errors), ("tunnels ended", stretch.tunnels)];
    parts.extend(more.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{n} {what}")));
    if let (Some(p50), Some(p99)) = (stretch.p50_ms, stretch.p99_ms) {
        parts.push(format!("p50 {p50:.1} ms, p99 {p99:.1} ms"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(seconds: f64, counted_seconds: f64) -> CostStretch {
        CostStretch {
            seconds,
            counted_seconds,
            served: 80,
            app_errors: 2,
            failed: 1,
            abandoned: 0,
            tunnels: 0,
            p50_ms: Some(1.25),
            p99_ms: Some(9.0),
        }
    }

    #[test]
    fn what_is_unknown_is_said_to_be() {
        let cost = DeploymentCost {
            deployment: "a".to_owned(),
            status: "DEPLOYED".to_owned(),
            is_final: true,
            before: None,
            during: Some(stretch(40.0, 25.0)),
            after: Some(stretch(60.0, 59.9)),
        };

        assert_eq!(
            lines(&cost),
            [
                "requests of its users",
                "  before  unknown: nothing was counted",
                "  during  40 s, counted for 25 s of them: 80 served, 1 failed, 2 errors of the app, p50 1.2 ms, p99 9.0 ms",
                "  after  60 s: 80 served, 1 failed, 2 errors of the app, p50 1.2 ms, p99 9.0 ms",
            ]
        );
    }
}
