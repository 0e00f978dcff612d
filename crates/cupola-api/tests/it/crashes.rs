//! When a crashed instance is started again, with every loop running and a clock that the test moves.

use std::time::Duration;

use cupola_domain::{
    ids::{AppId, InstanceId, ProcessId},
    instances::ExitCause,
};
use cupola_testkit::{TestPlatform, http::Client};
use serde_json::json;

use crate::push::{platform, push};

/// A pushed app whose only instance is ended again and again.
struct Crashing<'a> {
    platform: &'a TestPlatform,
    client: Client<'a>,
    app: String,
}

impl<'a> Crashing<'a> {
    async fn push(platform: &'a TestPlatform) -> Self {
        let client = platform.as_admin().await;
        let app = push(&client, &platform.space.to_string(), "shop").await;
        Self { platform, client, app }
    }

    /// Looks again and again until `look` finds something. Each look changes a row, which wakes the
    /// loops: they do not know when a test has moved the clock.
    async fn until<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let waits = async {
            loop {
                if let Some(found) = look(self) {
                    return found;
                }
                self.wake().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it comes in time")
    }

    async fn wake(&self) {
        let path = format!("/v3/apps/{}/environment_variables", self.app);
        self.client.patch(&path, json!({ "var": { "LOOK": "again" } })).await.expect(200);
    }

    fn desired(&self) -> Option<InstanceId> {
        self.platform.cells.desired().first().map(|instance| instance.id)
    }

    /// Ends the instance and waits until the cells are asked for it no more.
    async fn crash(&self) -> InstanceId {
        let id = self.until(Self::desired).await;
        self.platform.cells.end(id, ExitCause::Exited { code: 3 });
        self.until(|this| (this.desired() != Some(id)).then_some(())).await;
        id
    }

    async fn state(&self) -> String {
        let stats = self.client.get(&format!("/v3/processes/{}/stats", self.app)).await;
        stats.expect(200)["resources"][0]["state"].as_str().unwrap().to_owned()
    }

    /// Whether there is an instance again after this time, and not a second earlier.
    async fn starts_after(&self, delay: Duration) {
        self.platform.clock.advance(delay - Duration::from_secs(1));
        for _ in 0..5 {
            self.wake().await;
        }
        assert_eq!(self.desired(), None, "started before {delay:?}");
        assert_eq!(self.state().await, "CRASHED");
        self.platform.clock.advance(Duration::from_secs(1));
        self.until(Self::desired).await;
    }
}

#[tokio::test]
async fn crashed_instance_starts_three_times_at_once_then_later_and_later() {
    let platform = platform().await;
    let crashing = Crashing::push(&platform).await;

    for _ in 0..3 {
        let ended = crashing.crash().await;
        assert_ne!(crashing.until(Crashing::desired).await, ended);
    }
    for delay in [30, 60, 120, 240, 480, 960, 960] {
        crashing.crash().await;
        crashing.starts_after(Duration::from_secs(delay)).await;
    }

    // Five minutes up forget the row.
    crashing.until(Crashing::desired).await;
    platform.clock.advance(Duration::from_secs(300));
    let ended = crashing.crash().await;
    assert_ne!(crashing.until(Crashing::desired).await, ended);
}

#[tokio::test]
async fn instance_that_crashes_200_times_in_a_row_is_given_up_until_somebody_starts_it() {
    let platform = platform().await;
    let crashing = Crashing::push(&platform).await;
    let web = ProcessId::from_uuid(crashing.app.parse::<AppId>().unwrap().uuid());
    platform.cells.let_crash(web, ExitCause::Exited { code: 3 });

    crashing.crash().await;
    let events = "/v3/audit_events?types=audit.app.process.crash&per_page=1";
    let mut crashes = 0;
    while crashes < 201 {
        platform.clock.advance(Duration::from_secs(960));
        crashing.wake().await;
        let list = crashing.client.get(events).await;
        crashes = list.expect(200)["pagination"]["total_results"].as_u64().unwrap();
    }

    platform.clock.advance(Duration::from_secs(24 * 3600));
    for _ in 0..5 {
        crashing.wake().await;
    }
    assert_eq!(crashing.desired(), None);
    assert_eq!(crashing.state().await, "CRASHED");
    let list = crashing.client.get(events).await;
    assert_eq!(list.expect(200)["pagination"]["total_results"], 201);

    platform.cells.let_run(web);
    let restart = format!("/v3/apps/{}/actions/restart", crashing.app);
    crashing.client.post(&restart, json!({})).await.expect(200);
    assert_eq!(crashing.state().await, "RUNNING");
}
