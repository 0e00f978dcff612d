//! Sidecars: of users, of buildpacks, in revisions and in what the cell is asked for.

use cupola_domain::{
    roles::RoleKind,
    sidecars::{SidecarOrigin, SidecarSpec},
};
use cupola_ports::cells::DesiredInstance;
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use serde_json::{Value, json};

use crate::push::{app_named, apply, platform, push, staged, to};

fn tail() -> Value {
    json!({ "name": "tail", "command": "./tail", "process_types": ["web"], "memory_in_mb": 64 })
}

async fn create(client: &Client<'_>, app: &str, body: Value) -> Answer {
    client.post(&format!("/v3/apps/{app}/sidecars"), body).await
}

async fn restart(client: &Client<'_>, app: &str) {
    client.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
}

/// What the cell was asked to run beside the one instance, once it is these.
async fn run_beside(platform: &TestPlatform, names: &[&str]) -> Vec<DesiredInstance> {
    let mut desired = platform.cells.watch_desired();
    let is_right = |one: &DesiredInstance| {
        one.sidecars.iter().map(|sidecar| sidecar.name.as_str()).eq(names.iter().copied())
    };
    let found = desired.wait_for(|all| all.len() == 1 && all.iter().all(is_right));
    let found = tokio::time::timeout(std::time::Duration::from_secs(10), found).await;
    found.expect("the cell is asked for it").unwrap().clone()
}

async fn names(client: &Client<'_>, app: &str) -> Vec<String> {
    let list = client.get(&format!("/v3/apps/{app}/sidecars")).await;
    let all = list.expect(200)["resources"].as_array().unwrap().clone();
    all.iter().map(|one| format!("{}: {}", one["name"], one["origin"]).replace('"', "")).collect()
}

#[tokio::test]
async fn sidecar_runs_from_the_next_start_on_and_is_part_of_the_revision() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;

    let created = create(&admin, &app, tail()).await;
    run_beside(&platform, &[]).await;
    restart(&admin, &app).await;
    let desired = run_beside(&platform, &["tail"]).await;

    assert_eq!(created.expect(201)["origin"], "user");
    assert_eq!(created.body["memory_in_mb"], 64);
    let argv = &desired[0].sidecars[0].argv;
    assert!(argv.iter().any(|argument| argument == "./tail"), "{argv:?}");
    let revisions = admin.get(&format!("/v3/apps/{app}/revisions?versions=2")).await;
    let newest = &revisions.expect(200)["resources"][0];
    assert_eq!(newest["description"], "Sidecars updated.");
    assert_eq!(newest["sidecars"], json!([tail()]));
    let of_process = admin.get(&format!("/v3/processes/{app}/sidecars")).await;
    assert_eq!(of_process.expect(200)["resources"][0]["guid"], created.guid());
}

#[tokio::test]
async fn sidecar_is_changed_and_removed() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let path = format!("/v3/sidecars/{}", create(&admin, &app, tail()).await.guid());

    let change = json!({ "name": "other", "process_types": ["worker"], "memory_in_mb": null });
    let changed = admin.patch(&path, change).await;
    let of_web = admin.get(&format!("/v3/processes/{app}/sidecars")).await;
    admin.delete(&path).await.expect(204);

    assert_eq!(changed.expect(200)["name"], "other");
    assert_eq!(
        (&changed.body["command"], &changed.body["memory_in_mb"]),
        (&json!("./tail"), &Value::Null)
    );
    assert_eq!(of_web.expect(200)["pagination"]["total_results"], 0);
    assert_eq!(admin.get(&path).await.detail(404), "Sidecar not found");
}

#[tokio::test]
async fn sidecar_that_could_not_run_is_refused() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    create(&admin, &app, tail()).await.expect(201);
    let refused = async |body| create(&admin, &app, body).await.detail(422).to_owned();

    let large =
        json!({ "name": "b", "command": "b", "process_types": ["web"], "memory_in_mb": 960 });
    let told = refused(large).await;
    assert_eq!(
        told,
        "The memory allocation defined is too large to run with the dependent \"web\" process"
    );
    assert_eq!(refused(tail()).await, "Sidecar with name 'tail' already exists for given app");
    let nothing = json!({ "name": "b", "command": "b", "process_types": [] });
    assert_eq!(refused(nothing).await, "Process types must have at least 1 process_type");
    let nameless = json!({ "command": "b", "process_types": ["web"] });
    assert_eq!(refused(nameless).await, "Name can't be blank");
    let path = format!("/v3/processes/{app}/actions/scale");
    let small = admin.post(&path, json!({ "memory_in_mb": 64 })).await;
    assert_eq!(
        small.detail(422),
        "The requested memory allocation is not large enough to run all of your sidecar processes"
    );
}

#[tokio::test]
async fn manifest_names_sidecars_and_shows_them() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let manifest = |command: &str| {
        format!(
            "applications:\n- name: shop\n  sidecars:\n  - name: tail\n    process_types: [web]\n    \
             command: {command}\n    memory: 64M\n"
        )
    };

    let made = apply(&admin, &space, &manifest("./tail")).await;
    let app = app_named(&admin, "shop").await;
    let again = apply(&admin, &space, &manifest("./other")).await;

    assert_eq!(made.expect(200)["state"], "COMPLETE", "{}", made.text());
    assert_eq!(again.expect(200)["state"], "COMPLETE", "{}", again.text());
    let list = admin.get(&format!("/v3/apps/{app}/sidecars")).await;
    let [sidecar] = list.expect(200)["resources"].as_array().unwrap().as_slice() else {
        panic!("{}", list.text())
    };
    assert_eq!((&sidecar["command"], &sidecar["memory_in_mb"]), (&json!("./other"), &json!(64)));
    let shown = admin.get(&format!("/v3/apps/{app}/manifest")).await;
    assert!(shown.text().contains("sidecars:\n  - name: tail\n"), "{}", shown.text());
    let large = manifest("x").replace("64M", "2G");
    let refused = apply(&admin, &space, &large).await;
    assert!(refused.text().contains("For sidecar 'tail': The memory"), "{}", refused.text());
}

#[tokio::test]
async fn sidecars_of_a_buildpack_come_and_go_with_the_droplet() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let of_buildpack = |name: &str| SidecarSpec {
        name: name.to_owned(),
        command: "./from-buildpack".to_owned(),
        process_types: vec!["web".to_owned()],
        memory_mib: None,
        origin: SidecarOrigin::Buildpack,
    };
    platform.stager.build_sidecars(&[of_buildpack("agent"), of_buildpack("tail")]);
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    run_beside(&platform, &["agent", "tail"]).await;
    let of_first = names(&admin, &app).await;

    create(&admin, &app, tail()).await.expect(201);
    let (_, droplet) = staged(&admin, &app).await;
    let path = format!("/v3/apps/{app}/relationships/current_droplet");
    admin.patch(&path, to(&droplet)).await.expect(200);
    let overridden = names(&admin, &app).await;
    platform.stager.build_sidecars(&[]);
    let (_, droplet) = staged(&admin, &app).await;
    admin.patch(&path, to(&droplet)).await.expect(200);

    assert_eq!(of_first, ["agent: buildpack", "tail: buildpack"]);
    assert_eq!(overridden, ["agent: buildpack", "tail: user"]);
    assert_eq!(names(&admin, &app).await, ["tail: user"]);
}

#[tokio::test]
async fn rollback_brings_the_sidecars_of_its_revision_back() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    create(&admin, &app, tail()).await.expect(201);
    restart(&admin, &app).await;
    run_beside(&platform, &["tail"]).await;
    let revisions = admin.get(&format!("/v3/apps/{app}/revisions")).await;
    let first = &revisions.expect(200)["resources"][0]["guid"];

    let body = json!({ "relationships": { "app": to(&app) }, "revision": { "guid": first } });
    let deployment = admin.post("/v3/deployments", body).await;
    let ended = admin.get(&format!("/v3/deployments/{}", deployment.guid())).await;

    assert_eq!(ended.expect(200)["status"]["reason"], "DEPLOYED");
    run_beside(&platform, &[]).await;
    assert_eq!(names(&admin, &app).await, Vec::<String>::new());
}

#[tokio::test]
async fn command_of_a_sidecar_is_for_those_who_may_see_secrets() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let sidecar = create(&admin, &app, tail()).await.guid();
    let developer = platform.as_user("dev", &[RoleKind::SpaceDeveloper]).await;
    let auditor = platform.as_user("aud", &[RoleKind::SpaceAuditor]).await;
    let manager = platform.as_user("man", &[RoleKind::OrganizationManager]).await;

    let of_process = format!("/v3/processes/{app}/sidecars");
    let lists = [format!("/v3/apps/{app}/sidecars"), of_process];
    for (client, command) in [
        (&developer, "./tail"),
        (&auditor, "[PRIVATE DATA HIDDEN]"),
        (&manager, "[PRIVATE DATA HIDDEN]"),
    ] {
        let own = client.get(&format!("/v3/sidecars/{sidecar}")).await;
        assert_eq!(own.expect(200)["command"], command);
        for path in &lists {
            let list = client.get(path).await;
            assert_eq!(list.expect(200)["resources"][0]["command"], command, "{path}");
        }
    }
}

#[tokio::test]
async fn changes_name_a_sidecar_and_never_its_command() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let later = || platform.clock.advance(std::time::Duration::from_secs(1));
    later();
    let path = format!("/v3/sidecars/{}", create(&admin, &app, tail()).await.guid());
    later();
    admin.patch(&path, json!({ "command": "./tail --key hush" })).await.expect(200);
    admin.patch(&path, json!({ "command": "./tail --key hush" })).await.expect(200);
    later();
    admin.delete(&path).await.expect(204);

    let list = admin.get(&format!("/cupola/v1/apps/{app}/changes")).await;
    let newest = list.expect(200)["resources"].as_array().unwrap().iter().take(3);
    let told: Vec<&str> = newest.map(|change| change["summary"].as_str().unwrap()).collect();
    assert_eq!(told, ["sidecar tail removed", "sidecar tail changed", "sidecar tail set"]);
    assert!(!list.text().contains("./tail"), "{}", list.text());
}
