//! `/cupola/v1/apps/{guid}/pull`: the ladders of an app.

use cupola_domain::roles::RoleKind;
use cupola_testkit::http::Client;
use serde_json::{Value, json};

use crate::{
    deployments::{running, scale},
    push::staged,
};

const RUNGS: [&str; 4] =
    ["second-instance", "health-check", "rolling-by-default", "pinned-runtime"];

/// Everything that is set on an app, without the times of its rows.
async fn configuration(client: &Client<'_>, app: &str) -> Vec<Value> {
    let mut bodies = Vec::new();
    for path in ["", "/processes/web", "/routes", "/env", "/features", "/manifest"] {
        let mut body = client.get(&format!("/v3/apps/{app}{path}")).await.body.clone();
        without_times(&mut body);
        bodies.push(body);
    }
    bodies
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("updated_at");
            map.values_mut().for_each(without_times);
        }
        Value::Array(list) => list.iter_mut().for_each(without_times),
        _ => {}
    }
}

async fn rung(client: &Client<'_>, app: &str, name: &str) -> Value {
    let all = client.get(&format!("/cupola/v1/apps/{app}/pull")).await;
    let ladders = all.expect(200)["ladders"].as_array().unwrap().clone();
    let rungs = ladders.iter().flat_map(|ladder| ladder["rungs"].as_array().unwrap());
    rungs.into_iter().find(|rung| rung["name"] == name).unwrap().clone()
}

fn path(app: &str, rung: &str) -> String {
    format!("/cupola/v1/apps/{app}/pull/{rung}")
}

#[tokio::test]
async fn every_rung_is_pulled_and_put_back_without_a_trace() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let before = configuration(&admin, &app).await;

    for name in RUNGS {
        let can = rung(&admin, &app, name).await;
        assert_eq!((&can["has"], &can["obstacle"]), (&json!(false), &Value::Null), "{name}");
        admin.post(&path(&app, name), json!({})).await.expect(200);
        let pulled = rung(&admin, &app, name).await;
        assert_eq!((&pulled["has"], &pulled["pulled"]), (&json!(true), &json!(true)), "{name}");
        admin.delete(&path(&app, name)).await.expect(200);
        assert_eq!(configuration(&admin, &app).await, before, "{name}");
    }
}

#[tokio::test]
async fn pulled_instance_and_check_are_set_on_the_process() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;

    admin.post(&path(&app, "second-instance"), json!({})).await.expect(200);
    admin.post(&path(&app, "health-check"), json!({ "endpoint": "/up" })).await.expect(200);
    let bad = admin.post(&path(&app, "health-check"), json!({ "endpoint": "/up" })).await;

    let web = admin.get(&format!("/v3/processes/{app}")).await;
    assert_eq!(web.expect(200)["instances"], 2);
    assert_eq!(web.body["health_check"]["type"], "http");
    assert_eq!(web.body["health_check"]["data"]["endpoint"], "/up");
    assert_eq!(bad.detail(422), "`health-check` cannot be changed: the app has it already.");
}

#[tokio::test]
async fn build_is_told_the_pinned_version_until_it_is_put_back() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let variable = || {
        let staged = platform.stager.staged();
        staged.last().unwrap().environment.get("BP_NODE_VERSION").cloned()
    };

    admin.post(&path(&app, "pinned-runtime"), json!({})).await.expect(200);
    staged(&admin, &app).await;
    let pinned = variable();
    admin.delete(&path(&app, "pinned-runtime")).await.expect(200);
    staged(&admin, &app).await;

    assert_eq!(pinned.as_deref(), Some("22.1.0"));
    assert_eq!(variable(), None);
}

#[tokio::test]
async fn what_was_changed_since_is_not_put_back() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    admin.post(&path(&app, "second-instance"), json!({})).await.expect(200);
    scale(&admin, &app, 5).await;

    let refused = admin.delete(&path(&app, "second-instance")).await;

    assert!(refused.detail(422).contains("5 instances are set"), "{}", refused.text());
    let web = admin.get(&format!("/v3/processes/{app}")).await;
    assert_eq!(web.expect(200)["instances"], 5);
}

#[tokio::test]
async fn ladders_are_seen_by_those_who_see_the_app_and_pulled_by_those_who_operate_it() {
    let (platform, app) = running(1).await;
    let supporter = platform.as_user("sue", &[RoleKind::SpaceSupporter]).await;
    let auditor = platform.as_user("bob", &[RoleKind::SpaceAuditor]).await;
    let stranger = platform.as_user("eve", &[]).await;
    let all = format!("/cupola/v1/apps/{app}/pull");
    let one = path(&app, "second-instance");
    let refused = "You are not authorized to perform the requested action";

    assert_eq!(auditor.get(&all).await.expect(200)["app"], "shop");
    assert_eq!(auditor.post(&one, json!({})).await.detail(403), refused);
    assert_eq!(auditor.delete(&one).await.detail(403), refused);
    assert_eq!(stranger.get(&all).await.detail(404), "App not found");
    assert_eq!(stranger.post(&one, json!({})).await.detail(404), "App not found");
    assert_eq!(stranger.delete(&one).await.detail(404), "App not found");
    assert_eq!(platform.anonymous().get(&all).await.detail(401), "Authentication error");
    supporter.post(&one, json!({})).await.expect(200);
    assert_eq!(supporter.post(&path(&app, "moon"), json!({})).await.detail(404), "Rung not found");
}
