//! Log-cache, as the `cf` CLI reads it.

use cupola_domain::{roles::RoleKind, time::Timestamp};
use cupola_ports::logs::{LogLine, LogSink, LogStream};
use cupola_testkit::TestPlatform;
use serde_json::{Value, json};

use crate::push::to;

async fn app_with_lines(platform: &TestPlatform) -> String {
    let admin = platform.as_admin().await;
    let space = to(&platform.space.to_string());
    let body = json!({ "name": "shop", "relationships": { "space": space } });
    let app = admin.post("/v3/apps", body).await.guid();
    for (micros, message, stream) in
        [(10, "one", LogStream::Out), (20, "two", LogStream::Err), (30, "three", LogStream::Out)]
    {
        platform.logs.append(LogLine {
            at: Timestamp::from_micros(micros),
            source_id: app.clone(),
            source_type: "APP/PROC/WEB".to_owned(),
            instance: "0".to_owned(),
            stream,
            message: message.as_bytes().to_vec(),
        });
    }
    app
}

fn stamps(body: &Value) -> Vec<&str> {
    let batch = body["envelopes"]["batch"].as_array().unwrap();
    batch.iter().map(|envelope| envelope["timestamp"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lines_are_envelopes_with_nanoseconds_and_base64() {
    let platform = TestPlatform::start().await;
    let app = app_with_lines(&platform).await;
    let auditor = platform.as_user("ann", &[RoleKind::SpaceAuditor]).await;

    let path = format!("/api/v1/read/{app}?start_time=0&end_time=25000&envelope_types=LOG");
    let read = auditor.get(&path).await;

    assert_eq!(stamps(read.expect(200)), ["10000", "20000"]);
    let second = &read.body["envelopes"]["batch"][1];
    assert_eq!(second["log"], json!({ "payload": "dHdv", "type": "ERR" }));
    assert_eq!(second["tags"]["source_type"], "APP/PROC/WEB");
    assert_eq!(second["instance_id"], "0");
}

#[tokio::test]
async fn follower_gets_each_line_once() {
    let platform = TestPlatform::start().await;
    let app = app_with_lines(&platform).await;
    let admin = platform.as_admin().await;
    let read = async |query: &str| {
        let read = admin.get(&format!("/api/v1/read/{app}?{query}")).await;
        stamps(read.expect(200)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(read("start_time=10000&end_time=30000&limit=1").await, ["10000"]);
    // The CLI goes on one nanosecond after the last line.
    assert_eq!(read("start_time=10001&end_time=30001").await, ["20000", "30000"]);
    let newest_first = read("start_time=-6795364578871345152&end_time=31000&descending=true").await;
    assert_eq!(newest_first, ["30000", "20000", "10000"]);
    assert_eq!(read("start_time=0&envelope_types=GAUGE").await, [""; 0]);
}

#[tokio::test]
async fn log_of_an_app_is_for_those_who_see_it() {
    let platform = TestPlatform::start().await;
    let app = app_with_lines(&platform).await;
    let stranger = platform.as_user("eve", &[]).await;
    let path = format!("/api/v1/read/{app}");

    assert_eq!(stranger.get(&path).await.detail(404), "App not found");
    stranger.get("/api/v1/read/none").await.expect(404);
    platform.anonymous().get(&path).await.expect(401);
    assert_eq!(stranger.get("/api/v1/meta").await.expect(200)["meta"], json!({}));
    let admin = platform.as_admin().await;
    let meta = admin.get("/api/v1/meta").await;
    assert_eq!(meta.expect(200)["meta"][&app]["oldest_timestamp"], "10000");
    let info = platform.anonymous().get("/api/v1/info").await;
    assert_eq!(info.expect(200)["version"], "3.0.0");
}
