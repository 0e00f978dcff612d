//! What changed in an app, and the audit events that tell of it.

use std::time::Duration;

use cupola_domain::{
    ids::{AppId, ProcessId},
    instances::ExitCause,
    roles::RoleKind,
};
use cupola_testkit::{TestPlatform, http::Client};
use serde_json::{Value, json};

use crate::push::{form, platform, push, staged, to, upload};

const SECRET: &str = "hush-4711";

/// The changes, oldest first, as `kind: summary`.
async fn told(client: &Client<'_>, app: &str) -> Vec<String> {
    let list = client.get(&format!("/cupola/v1/apps/{app}/changes?per_page=100")).await;
    let changes = list.expect(200)["resources"].as_array().unwrap();
    let line = |change: &Value| {
        let text = |key: &str| change[key].as_str().unwrap().to_owned();
        format!("{}: {}", text("kind"), text("summary"))
    };
    changes.iter().rev().map(line).collect()
}

/// Equal times would be in no order that matters.
fn later(platform: &TestPlatform) {
    platform.clock.advance(Duration::from_secs(1));
}

#[tokio::test]
async fn changes_are_told_in_order_with_what_was_before_and_without_secrets() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    later(&platform);
    let variables = json!({ "var": { "TOKEN": SECRET, "COLOUR": "blue" } });
    let path = format!("/v3/apps/{app}/environment_variables");
    admin.patch(&path, variables).await.expect(200);
    later(&platform);
    admin
        .patch(&path, json!({ "var": { "TOKEN": "hush-4712", "COLOUR": null } }))
        .await
        .expect(200);
    later(&platform);
    let web = format!("/v3/apps/{app}/processes/web");
    let scale = json!({ "instances": 2, "memory_in_mb": 64 });
    admin.post(&format!("{web}/actions/scale"), scale).await.expect(202);
    later(&platform);
    admin.patch(&web, json!({ "command": format!("serve --key {SECRET}") })).await.expect(200);
    later(&platform);
    admin.patch(&format!("/v3/apps/{app}"), json!({ "name": "store" })).await.expect(200);
    later(&platform);
    let (_, droplet) = staged(&admin, &app).await;
    later(&platform);
    let deployment = json!({
        "relationships": { "app": to(&app) },
        "droplet": { "guid": droplet },
    });
    let deployment = admin.post("/v3/deployments", deployment).await;
    deployment.expect(201);
    let ended = admin.get(&format!("/v3/deployments/{}", deployment.guid())).await;
    assert_eq!(ended.expect(200)["status"]["reason"], "DEPLOYED");

    let lines = told(&admin, &app).await;

    let after = lines.iter().position(|line| line == "environment: variables added COLOUR TOKEN");
    assert_eq!(
        lines[after.unwrap()..],
        [
            "environment: variables added COLOUR TOKEN",
            "environment: variables changed TOKEN; removed COLOUR",
            "scale: web: instances 1 to 2, memory in mb 1024 to 64",
            "settings: web: command set",
            "settings: name shop to store",
            "build: built",
            // The clock stands still between the two, so that they are not turned around.
            "deployment: rolling deployment of revision 2",
            "revision: revision 2: Custom start command added for 'web' process. New droplet \
             deployed. New environment variables deployed.",
        ]
    );
    let list = admin.get(&format!("/cupola/v1/apps/{app}/changes")).await;
    let newest = &list.expect(200)["resources"][1];
    assert_eq!(newest["who"], "admin");
    assert_eq!(newest["event"], "audit.app.deployment.create");
    assert_eq!(newest["deployment"]["state"], "DEPLOYED");
    assert_eq!(newest["revision"], 2);
    assert_eq!(newest["commit"], Value::Null);
    let events = admin.get(&format!("/v3/audit_events?target_guids={app}&per_page=200")).await;
    events.expect(200);
    for text in [list.text(), events.text()] {
        assert!(!text.contains("hush") && !text.contains("blue"), "{text}");
    }
}

#[tokio::test]
async fn crash_between_changes_is_one_of_them_and_names_its_release() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    later(&platform);
    let web = ProcessId::from_uuid(app.parse::<AppId>().unwrap().uuid());
    let mut desired = platform.cells.watch_desired();
    let instance = desired.wait_for(|all| !all.is_empty()).await.unwrap()[0].id;
    platform.cells.end(instance, ExitCause::Exited { code: 3 });
    let waits = async {
        while !told(&admin, &app).await.iter().any(|line| line.starts_with("crash: ")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waits).await.expect("the crash is told");

    let crash = admin.get(&format!("/cupola/v1/apps/{app}/changes")).await;
    let crash = crash.expect(200)["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["kind"] == "crash")
        .unwrap()
        .clone();

    assert_eq!(crash["summary"], "web/0 crashed: Exited with status 3");
    assert_eq!(crash["who"], "web");
    let starts = format!("/v3/audit_events?target_guids={app}&types=audit.app.restart");
    let start = admin.get(&starts).await.expect(200)["resources"][0].clone();
    assert_eq!(crash["details"]["version"], start["data"]["version"]);
    assert_eq!(web.to_string(), app);
}

#[tokio::test]
async fn bindings_of_the_app_are_changes_of_it_and_those_of_another_are_not() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let (app, other) = (push(&admin, &space, "shop").await, push(&admin, &space, "blog").await);
    let body = json!({
        "type": "user-provided",
        "name": "db",
        "credentials": { "password": SECRET },
        "relationships": { "space": to(&space) },
    });
    let instance = admin.post("/v3/service_instances", body).await.guid();
    let path = "/v3/service_credential_bindings";
    let bind = |app: &str| {
        let relationships = json!({ "service_instance": to(&instance), "app": to(app) });
        admin.post(path, json!({ "type": "app", "relationships": relationships }))
    };
    later(&platform);

    let bound = bind(&app).await.guid();
    later(&platform);
    admin.delete(&format!("{path}/{bound}")).await.expect(204);
    later(&platform);
    bind(&app).await.guid();
    later(&platform);
    bind(&other).await.guid();
    later(&platform);
    admin.delete(&format!("/v3/service_instances/{instance}")).await.expect(204);

    let of_bindings = async |app: &str| {
        let lines = told(&admin, app).await;
        lines.into_iter().filter(|line| line.starts_with("binding: ")).collect::<Vec<_>>()
    };
    let (bound, unbound) = ("binding: bound to db", "binding: unbound from db");
    assert_eq!(of_bindings(&app).await, [bound, unbound, bound, unbound]);
    assert_eq!(of_bindings(&other).await, [bound, unbound]);
    let list = admin.get(&format!("/cupola/v1/apps/{app}/changes")).await;
    assert!(!list.text().contains(SECRET), "{}", list.text());
}

#[tokio::test]
async fn changes_since_a_point_in_time_come_page_by_page() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    platform.clock.advance(Duration::from_secs(3600));
    let begin = "2028-02-29T13:00:00Z";
    let path = format!("/v3/apps/{app}/environment_variables");
    for name in ["ONE", "TWO", "THREE"] {
        admin.patch(&path, json!({ "var": { name: "x" } })).await.expect(200);
        later(&platform);
    }

    let base = format!("/cupola/v1/apps/{app}/changes");
    let first = admin.get(&format!("{base}?since={begin}&per_page=2")).await;
    let second = admin.get(&format!("{base}?since={begin}&per_page=2&page=2")).await;

    assert_eq!(first.expect(200)["pagination"]["total_results"], 3);
    let next = first.body["pagination"]["next"]["href"].as_str().unwrap();
    assert!(next.contains("since=2028-02-29T13:00:00Z"), "{next}");
    assert_eq!(first.body["resources"][0]["summary"], "variables added THREE");
    assert_eq!(second.expect(200)["resources"][0]["summary"], "variables added ONE");
    let wrong = admin.get(&format!("{base}?since=yesterday")).await;
    let detail = wrong.detail(400);
    assert!(detail.contains("'yesterday' is not a time"), "{detail}");
}

#[tokio::test]
async fn changes_are_for_those_who_see_the_app() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let auditor = platform.as_user("bob", &[RoleKind::SpaceAuditor]).await;
    let stranger = platform.as_user("eve", &[]).await;
    let path = format!("/cupola/v1/apps/{app}/changes");

    auditor.get(&path).await.expect(200);
    assert_eq!(stranger.get(&path).await.detail(404), "App not found");
    assert_eq!(platform.anonymous().get(&path).await.detail(401), "Authentication error");
}

/// Pushes and returns the droplet.
async fn built(client: &Client<'_>, app: &str, metadata: Value) -> Value {
    let new = json!({
        "type": "bits",
        "relationships": { "app": to(app) },
        "metadata": metadata,
    });
    let package = client.post("/v3/packages", new).await;
    package.expect(201);
    let resources = ("resources", "[]");
    let bits = upload(client, &package.guid(), form(&[resources, ("bits", "a zip")])).await;
    assert_eq!(bits.expect(200)["state"], "READY");
    let build = json!({ "package": { "guid": package.guid() } });
    let build = client.post("/v3/builds", build).await;
    build.expect(201);
    let build = client.get(&format!("/v3/builds/{}", build.guid())).await;
    let droplet = build.expect(200)["droplet"]["guid"].as_str().unwrap();
    client.get(&format!("/v3/droplets/{droplet}")).await.expect(200).clone()
}

#[tokio::test]
async fn commit_of_a_package_is_that_of_its_droplet_its_copies_and_its_revision() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let app = push(&admin, &space, "shop").await;
    let other = push(&admin, &space, "blog").await;
    let source = json!({
        "cupola.dev/commit": "0123456789abcdef0123456789abcdef01234567",
        "cupola.dev/dirty": "true",
    });
    let metadata = json!({ "annotations": source, "labels": { "team": "blue" } });

    let droplet = built(&admin, &app, metadata).await;
    let copy = format!("/v3/droplets?source_guid={}", droplet["guid"].as_str().unwrap());
    let copy = admin.post(&copy, json!({ "relationships": { "app": to(&other) } })).await;
    let deployment = json!({
        "relationships": { "app": to(&app) },
        "droplet": { "guid": droplet["guid"] },
    });
    admin.post("/v3/deployments", deployment).await.expect(201);

    assert_eq!(droplet["metadata"], json!({ "annotations": source, "labels": {} }));
    assert_eq!(copy.expect(201)["metadata"]["annotations"], source);
    let revisions = admin.get(&format!("/v3/apps/{app}/revisions?order_by=-created_at")).await;
    let revisions = revisions.expect(200)["resources"].as_array().unwrap().clone();
    let newest = revisions.iter().find(|one| one["version"] == 2).unwrap();
    assert_eq!(newest["metadata"]["annotations"], source);
    let changes = admin.get(&format!("/cupola/v1/apps/{app}/changes")).await;
    let changes = changes.expect(200)["resources"].as_array().unwrap().clone();
    let begun = changes.iter().find(|one| one["kind"] == "deployment").unwrap();
    assert_eq!(begun["commit"]["id"], source["cupola.dev/commit"]);
    assert_eq!(begun["commit"]["dirty"], true);
    assert_eq!(begun["summary"], "rolling deployment of revision 2, commit 0123456789ab (dirty)");
}

#[tokio::test]
async fn commit_that_a_manifest_names_is_that_of_the_next_package_only() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let label = json!({ "metadata": { "labels": { "cupola.dev/commit": "0123abc" } } });
    admin.patch(&format!("/v3/apps/{app}"), label).await.expect(200);

    let first = built(&admin, &app, json!({})).await;
    let second = built(&admin, &app, json!({})).await;

    assert_eq!(first["metadata"]["labels"]["cupola.dev/commit"], "0123abc");
    assert_eq!(second["metadata"], json!({ "labels": {}, "annotations": {} }));
}

/// The figures by name.
async fn figures(client: &Client<'_>, app: &str) -> Vec<Value> {
    let dora = client.get(&format!("/cupola/v1/apps/{app}/dora")).await;
    dora.expect(200)["figures"].as_array().unwrap().clone()
}

#[tokio::test]
async fn figures_come_from_what_the_platform_saw() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    platform.clock.advance(Duration::from_secs(2 * 24 * 3600));
    let source = json!({
        "cupola.dev/commit": "0123abc",
        "cupola.dev/committed-at": "2028-03-02T11:00:00Z",
    });
    let droplet = built(&admin, &app, json!({ "annotations": source })).await;
    let deployment = json!({
        "relationships": { "app": to(&app) },
        "droplet": { "guid": droplet["guid"] },
    });
    let deployment = admin.post("/v3/deployments", deployment).await;
    let ended = admin.get(&format!("/v3/deployments/{}", deployment.guid())).await;
    assert_eq!(ended.expect(200)["status"]["reason"], "DEPLOYED");
    platform.clock.advance(Duration::from_secs(600));
    let revisions = admin.get(&format!("/v3/apps/{app}/revisions?versions=1")).await;
    let back = json!({
        "relationships": { "app": to(&app) },
        "revision": { "guid": revisions.expect(200)["resources"][0]["guid"] },
    });
    let back = admin.post("/v3/deployments", back).await;
    let ended = admin.get(&format!("/v3/deployments/{}", back.guid())).await;
    assert_eq!(ended.expect(200)["status"]["reason"], "DEPLOYED");

    let figures = figures(&admin, &app).await;

    let values: Vec<&Value> = figures.iter().map(|figure| &figure["value"]).collect();
    // Two deployments, of which one has a commit: an hour old. It was rolled back after ten minutes.
    assert_eq!(values[1..], [&json!(3600.0), &json!(600.0), &json!(0.5), &json!(0.0)]);
    assert_eq!(figures[0]["sample"], 2);
    assert_eq!(figures[1]["sample"], 1);
    let unknown = figures[1]["unknown"][0].as_str().unwrap();
    assert_eq!(unknown, "1 of 2 deployments have no commit with a time");
}

#[tokio::test]
async fn figures_are_for_those_who_see_the_app() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let auditor = platform.as_user("bob", &[RoleKind::SpaceAuditor]).await;
    let stranger = platform.as_user("eve", &[]).await;
    let path = format!("/cupola/v1/apps/{app}/dora");

    auditor.get(&path).await.expect(200);
    assert_eq!(stranger.get(&path).await.detail(404), "App not found");
    assert_eq!(platform.anonymous().get(&path).await.detail(401), "Authentication error");
}

/// The data of the newest event of this type.
async fn event(client: &Client<'_>, kind: &str) -> Value {
    let path = format!("/v3/audit_events?types={kind}&order_by=-created_at&per_page=1");
    let list = client.get(&path).await;
    let event = list.expect(200)["resources"].get(0).cloned();
    event.unwrap_or_else(|| panic!("there is no {kind}"))
}

#[tokio::test]
async fn version_that_does_not_run_is_told_with_the_reason_and_counts_as_failed() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    later(&platform);
    let (_, droplet) = staged(&admin, &app).await;
    let web = ProcessId::from_uuid(app.parse::<AppId>().unwrap().uuid());
    platform.cells.let_crash(web, ExitCause::Exited { code: 3 });
    let deployment = json!({
        "relationships": { "app": to(&app) },
        "droplet": { "guid": droplet },
    });
    let deployment = admin.post("/v3/deployments", deployment).await;
    let ended = admin.get(&format!("/v3/deployments/{}", deployment.guid())).await;
    assert_eq!(ended.expect(200)["status"]["reason"], "CANCELED");

    let cancelled = "deployment: deployment cancelled: Exited with status 3".to_owned();
    let lines = told(&admin, &app).await;
    assert!(lines.contains(&cancelled), "{lines:?}");
    assert_eq!(event(&admin, "audit.app.deployment.cancel").await["actor"]["name"], "cupola");
    let figures = figures(&admin, &app).await;
    assert_eq!(figures[3]["value"], 0.5);
    assert_eq!(figures[0]["unknown"][0], "1 of 2 deployments never served");
}

#[tokio::test]
async fn reading_variables_is_an_event_and_no_change() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let revisions = admin.get(&format!("/v3/apps/{app}/revisions")).await;
    let revision = revisions.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let before = told(&admin, &app).await;

    admin.get(&format!("/v3/apps/{app}/env")).await.expect(200);
    admin.get(&format!("/v3/apps/{app}/environment_variables")).await.expect(200);
    admin.get(&format!("/v3/revisions/{revision}/environment_variables")).await.expect(200);

    for kind in ["environment.show", "environment_variables.show"] {
        let event = event(&admin, &format!("audit.app.{kind}")).await;
        assert_eq!(event["target"]["guid"], app, "{kind}");
    }
    let event = event(&admin, "audit.app.revision.environment_variables.show").await;
    assert_eq!(event["data"]["revision_version"], 1);
    assert_eq!(told(&admin, &app).await, before);
}

#[tokio::test]
async fn deleted_route_is_a_change_of_the_app_that_it_led_to() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    later(&platform);
    let routes = admin.get(&format!("/v3/apps/{app}/routes")).await;
    let route = routes.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();

    admin.delete(&format!("/v3/routes/{route}")).await.expect(202);

    let lines = told(&admin, &app).await;
    assert_eq!(lines.last().unwrap(), "route: unmapped shop.apps.cupola.test");
}

#[tokio::test]
async fn login_in_the_address_of_a_buildpack_is_in_no_event() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    later(&platform);
    let url = format!("https://ada:{SECRET}@example.com/pack.git");
    let change = json!({ "lifecycle": { "type": "buildpack", "data": { "buildpacks": [url] } } });

    admin.patch(&format!("/v3/apps/{app}"), change).await.expect(200);

    let event = event(&admin, "audit.app.update").await["data"].clone();
    let shown = "https://example.com/pack.git";
    assert_eq!(event["request"]["lifecycle"]["data"]["buildpacks"], json!([shown]));
    assert_eq!(event["changed"]["buildpacks"], json!({ "before": [], "after": [shown] }));
    assert!(!event.to_string().contains(SECRET));
}

#[tokio::test]
async fn events_are_kept_as_long_as_the_configuration_says() {
    let day = Duration::from_secs(24 * 3600);
    let mut platform = TestPlatform::start_with(|settings| settings.events_age_max = day).await;
    let space = platform.space;
    let admin = platform.as_admin().await;
    let new =
        |name: &str| json!({ "name": name, "relationships": { "space": to(&space.to_string()) } });
    let old = admin.post("/v3/apps", new("old")).await.guid();
    platform.clock.advance(day + Duration::from_secs(1));
    let young = admin.post("/v3/apps", new("young")).await.guid();
    drop(admin);

    platform.start_loops().await;

    let admin = platform.as_admin().await;
    let gone = async {
        while !told(&admin, &old).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("old events go");
    assert_eq!(told(&admin, &young).await, ["app: created young"]);
}
