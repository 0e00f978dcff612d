//! Apps, their environment, features and processes.

use cupola_domain::roles::RoleKind;
use cupola_testkit::{TestPlatform, http::Client};
use serde_json::{Value, json};

use crate::push::{platform, push, to};

async fn create(client: &Client<'_>, platform: &TestPlatform, name: &str) -> String {
    let space = to(&platform.space.to_string());
    let answer =
        client.post("/v3/apps", json!({ "name": name, "relationships": { "space": space } })).await;
    answer.expect(201);
    answer.guid()
}

#[tokio::test]
async fn new_app_is_stopped_and_has_one_web_process() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let app = create(&admin, &platform, "shop").await;

    let shown = admin.get(&format!("/v3/apps/{app}")).await;
    assert_eq!(shown.expect(200)["state"], "STOPPED");
    let lifecycle = json!({ "type": "buildpack", "data": { "buildpacks": [], "stack": "host" } });
    assert_eq!(shown.body["lifecycle"], lifecycle);
    let processes = admin.get(&format!("/v3/apps/{app}/processes")).await;
    let web = &processes.expect(200)["resources"][0];
    assert_eq!(web["guid"], app);
    assert_eq!(web["type"], "web");
    assert_eq!(web["instances"], 1);
    assert_eq!(web["health_check"]["type"], "port");
}

#[tokio::test]
async fn name_is_unique_in_its_space_whatever_its_case() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    create(&admin, &platform, "shop").await;
    let other = create(&admin, &platform, "other").await;
    let space = to(&platform.space.to_string());

    let body = json!({ "name": "SHOP", "relationships": { "space": space } });
    let taken = admin.post("/v3/apps", body).await;
    let renamed = admin.patch(&format!("/v3/apps/{other}"), json!({ "name": "shop" })).await;

    assert_eq!(taken.detail(422), "App with the name 'SHOP' already exists.");
    assert_eq!(renamed.detail(422), "App with the name 'shop' already exists.");
}

#[tokio::test]
async fn bad_new_apps_are_refused_with_a_reason() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let space = to(&platform.space.to_string());
    let with = |key: &str, value: Value| {
        let mut body = json!({ "name": "shop", "relationships": { "space": space } });
        body[key] = value;
        body
    };

    let buildpack = json!({ "type": "buildpack", "data": { "buildpacks": ["wut"] } });
    let stack = json!({ "type": "buildpack", "data": { "stack": "cflinuxfs4" } });
    let cases = [
        (with("name", json!(" ")), "Name can't be blank"),
        (
            with("lifecycle", buildpack),
            "Buildpack \"wut\" must be an existing admin buildpack or a valid git URI",
        ),
        (with("lifecycle", stack), "Stack must be an existing stack. There is only 'host'."),
        (
            with("environment_variables", json!({ "VCAP_X": "1" })),
            "Environment variables cannot start with VCAP_",
        ),
        (
            with("relationships", json!({ "space": to("none") })),
            "Invalid space. Ensure that the space exists and you have access to it.",
        ),
    ];
    for (body, detail) in cases {
        assert_eq!(admin.post("/v3/apps", body).await.detail(422), detail);
    }
    let docker = admin.post("/v3/apps", with("lifecycle", json!({ "type": "docker" }))).await;
    assert_eq!(docker.detail(403), "Feature Disabled: diego_docker");
    assert_eq!(admin.get("/v3/apps").await.names(), [""; 0]);
}

#[tokio::test]
async fn lists_are_filtered_by_name_space_and_organisation() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    for name in ["one", "two", "three"] {
        create(&admin, &platform, name).await;
    }
    let (org, space) = (platform.org, platform.space);

    let list = async |query: &str| {
        let list = admin.get(&format!("/v3/apps?order_by=name&{query}")).await;
        list.names().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(list("names=TWO,one").await, ["one", "two"]);
    assert_eq!(list(&format!("space_guids={space}&organization_guids={org}")).await.len(), 3);
    assert_eq!(list("space_guids=none").await, [""; 0]);
    assert_eq!(list("organization_guids=none").await, [""; 0]);
    assert_eq!(list("lifecycle_type=cnb").await, [""; 0]);
    let included = admin.get("/v3/apps?include=space.organization").await;
    assert_eq!(included.expect(200)["included"]["spaces"][0]["guid"], space.to_string());
    assert_eq!(included.body["included"]["organizations"][0]["guid"], org.to_string());
}

#[tokio::test]
async fn null_removes_a_variable_and_other_values_become_text() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let app = create(&admin, &platform, "shop").await;
    let path = format!("/v3/apps/{app}/environment_variables");

    admin.patch(&path, json!({ "var": { "A": "1", "B": 2, "C": [true] } })).await.expect(200);
    let changed = admin.patch(&path, json!({ "var": { "A": null } })).await;
    let refused = admin.patch(&path, json!({ "var": { "PORT": "1" } })).await;

    assert_eq!(changed.expect(200)["var"], json!({ "B": "2", "C": "[true]" }));
    assert_eq!(refused.detail(422), "Var cannot set PORT");
    let env = admin.get(&format!("/v3/apps/{app}/env")).await;
    assert_eq!(env.expect(200)["environment_variables"], changed.body["var"]);
    let about = &env.body["application_env_json"]["VCAP_APPLICATION"];
    assert_eq!(about["organization_name"], "default");
}

#[tokio::test]
async fn app_without_a_droplet_cannot_be_started() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let app = create(&admin, &platform, "shop").await;

    let started = admin.post(&format!("/v3/apps/{app}/actions/start"), json!({})).await;
    let droplet = admin.get(&format!("/v3/apps/{app}/droplets/current")).await;
    let path = format!("/v3/apps/{app}/relationships/current_droplet");
    let foreign = admin.patch(&path, to(&app)).await;

    assert_eq!(started.detail(422), "Assign a droplet before starting this app.");
    assert_eq!(droplet.detail(404), "Droplet not found");
    assert_eq!(
        foreign.detail(422),
        "Unable to assign current droplet. Ensure the droplet exists and belongs to this app."
    );
}

#[tokio::test]
async fn features_are_switched_one_by_one() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let app = create(&admin, &platform, "shop").await;
    let path = format!("/v3/apps/{app}/features");

    let revisions = admin.patch(&format!("{path}/revisions"), json!({ "enabled": false })).await;

    assert_eq!(revisions.expect(200)["enabled"], false);
    assert_eq!(
        admin.get(&path).await.names(),
        ["ssh", "revisions", "service-binding-k8s", "file-based-vcap-services"]
    );
    assert_eq!(admin.get(&format!("{path}/other")).await.detail(404), "Feature not found");
}

#[tokio::test]
async fn scale_counts_at_once_and_has_bounds() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let scale = format!("/v3/apps/{app}/processes/web/actions/scale");

    admin.post(&scale, json!({ "instances": 3 })).await.expect(202);

    let stats = format!("/v3/processes/{app}/stats");
    let mut commits = cupola_ports::store::Store::commits(&*platform.store);
    let all_run = async {
        loop {
            let stats = admin.get(&stats).await;
            let states = stats.expect(200)["resources"].as_array().unwrap().clone();
            if states.len() == 3 && states.iter().all(|one| one["state"] == "RUNNING") {
                break;
            }
            commits.changed().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), all_run).await.unwrap();
    for (body, detail) in [
        (json!({ "instances": -1 }), "Instances must be greater than or equal to 0"),
        (json!({ "instances": 1001 }), "Instances must be at most 1000 on this platform"),
        (json!({ "memory_in_mb": 0 }), "Memory in mb must be greater than 0"),
        (json!({ "memory_in_mb": 9000 }), "Memory in mb must be at most 8192 on this platform"),
    ] {
        assert_eq!(admin.post(&scale, body).await.detail(422), detail);
    }
}

#[tokio::test]
async fn supporter_scales_and_restarts_but_does_not_change_the_app() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let supporter = platform.as_user("sam", &[RoleKind::SpaceSupporter]).await;

    let of = |rest: &str| format!("/v3/apps/{app}/{rest}");
    let scaled =
        supporter.post(&of("processes/web/actions/scale"), json!({ "instances": 2 })).await;
    scaled.expect(202);
    supporter.post(&of("actions/restart"), json!({})).await.expect(200);

    supporter.patch(&format!("/v3/apps/{app}"), json!({ "name": "mine" })).await.expect(403);
    supporter.get(&of("env")).await.expect(200);
    let process = supporter.get(&of("processes/web")).await;
    assert_eq!(process.expect(200)["command"], "[PRIVATE DATA HIDDEN]");
}

#[tokio::test]
async fn check_is_changed_as_a_whole_and_refused_when_it_makes_no_sense() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let app = create(&admin, &platform, "shop").await;
    let path = format!("/v3/processes/{app}");

    let data = json!({ "endpoint": "/up", "timeout": 90, "invocation_timeout": 2, "interval": 5 });
    let body = json!({ "health_check": { "type": "http", "data": data } });
    let http = admin.patch(&path, body).await;
    let back = admin.patch(&path, json!({ "health_check": { "type": "port" } })).await;

    assert_eq!(http.expect(200)["health_check"]["data"], data);
    assert_eq!(back.expect(200)["health_check"]["type"], "port");
    assert_eq!(back.body["health_check"]["data"]["endpoint"], Value::Null);
    for (check, detail) in [
        (json!({ "type": "ping" }), "Health check type must be \"port\", \"process\", or \"http\""),
        (
            json!({ "type": "port", "data": { "timeout": 500 } }),
            "Health check timeout maximum exceeded: max 180s",
        ),
        (
            json!({ "type": "port", "data": { "interval": 0 } }),
            "Health check interval must be an integer greater than or equal to 1",
        ),
    ] {
        let refused = admin.patch(&path, json!({ "health_check": check })).await;
        assert_eq!(refused.detail(422), detail);
    }
}

#[tokio::test]
async fn restarted_instance_is_another_one() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let stats = format!("/v3/apps/{app}/processes/web/stats");
    let before = admin.get(&stats).await.expect(200)["resources"][0]["instance_guid"].clone();

    admin.delete(&format!("/v3/apps/{app}/processes/web/instances/0")).await.expect(204);

    let after = admin.get(&stats).await;
    assert_eq!(after.expect(200)["resources"][0]["state"], "RUNNING");
    assert_ne!(after.body["resources"][0]["instance_guid"], before);
    let missing = admin.delete(&format!("/v3/apps/{app}/processes/web/instances/7")).await;
    assert_eq!(missing.detail(404), "Instance not found");
}

#[tokio::test]
async fn stopped_app_has_instances_that_are_down() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;

    admin.post(&format!("/v3/apps/{app}/actions/stop"), json!({})).await.expect(200);

    let list = admin.get(&format!("/v3/processes?app_guids={app}&embed=process_instances")).await;
    let state = &list.expect(200)["resources"][0]["process_instances"][0]["state"];
    assert!(["DOWN", "STOPPING"].contains(&state.as_str().unwrap()), "{state}");
}
