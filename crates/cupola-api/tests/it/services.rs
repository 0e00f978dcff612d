//! Service instances, bindings and what apps find of them.

use std::collections::BTreeMap;

use cupola_domain::{ids::InstanceId, roles::RoleKind};
use cupola_ports::cells::{DesiredInstance, Work};
use cupola_testkit::{TestPlatform, http::Client};
use serde_json::{Value, json};

use crate::push::{apply, platform, push, to};

const SECRET: &str = "hunter2-in-no-row";

async fn create(client: &Client<'_>, platform: &TestPlatform, name: &str) -> String {
    let body = json!({
        "type": "user-provided",
        "name": name,
        "tags": ["sql"],
        "credentials": { "password": SECRET },
        "syslog_drain_url": "syslog-tls://logs.example:6514",
        "relationships": { "space": to(&platform.space.to_string()) },
    });
    client.post("/v3/service_instances", body).await.guid()
}

fn binding(instance: &str, app: &str) -> Value {
    json!({
        "type": "app",
        "relationships": { "service_instance": to(instance), "app": to(app) },
    })
}

async fn bind(client: &Client<'_>, instance: &str, app: &str) -> String {
    client.post("/v3/service_credential_bindings", binding(instance, app)).await.guid()
}

/// The app's own instance, as the cell has it, once there is one that `fits`.
async fn desired(
    platform: &TestPlatform,
    fits: impl Fn(&DesiredInstance) -> bool,
) -> DesiredInstance {
    let mut watch = platform.cells.watch_desired();
    let all = watch.wait_for(|all| all.iter().any(&fits)).await.unwrap();
    all.iter().find(|one| fits(one)).unwrap().clone()
}

fn environment(one: &DesiredInstance) -> BTreeMap<&str, &str> {
    one.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn services(one: &DesiredInstance) -> Value {
    serde_json::from_str(environment(one)["VCAP_SERVICES"]).unwrap()
}

async fn started(platform: &TestPlatform, admin: &Client<'_>) -> (String, InstanceId) {
    let app = push(admin, &platform.space.to_string(), "shop").await;
    admin.get(&format!("/v3/processes/{app}/stats")).await.expect(200);
    let id = desired(platform, |one| one.work == Work::Process).await.id;
    (app, id)
}

#[tokio::test]
async fn instance_is_made_shown_changed_and_deleted() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let id = create(&admin, &platform, "db").await;
    let path = format!("/v3/service_instances/{id}");

    let shown = admin.get(&path).await;
    assert_eq!(shown.expect(200)["type"], "user-provided");
    assert_eq!(shown.body["tags"], json!(["sql"]));
    assert_eq!(shown.body["last_operation"]["type"], "create");
    assert!(!shown.text().contains(SECRET));
    let secret = admin.get(&format!("{path}/credentials")).await;
    assert_eq!(*secret.expect(200), json!({ "password": SECRET }));

    platform.clock.advance(std::time::Duration::from_secs(1));
    let change = json!({ "name": "primary", "credentials": { "a": 1 }, "syslog_drain_url": "" });
    let changed = admin.patch(&path, change).await;
    assert_eq!(changed.expect(200)["name"], "primary");
    assert_eq!(changed.body["syslog_drain_url"], Value::Null);
    assert_eq!(changed.body["last_operation"]["type"], "update");
    let secret = admin.get(&format!("{path}/credentials")).await;
    assert_eq!(*secret.expect(200), json!({ "a": 1 }));

    admin.delete(&path).await.expect(204);
    assert_eq!(admin.get(&path).await.detail(404), "Service instance not found");
    let kinds = admin.get("/v3/audit_events?order_by=created_at").await;
    let events: Vec<&str> = kinds.expect(200)["resources"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|event| event["type"].as_str()?.strip_prefix("audit.user_provided_"))
        .collect();
    assert_eq!(
        events,
        [
            "service_instance.create",
            "service_instance.show",
            "service_instance.update",
            "service_instance.show",
            "service_instance.delete",
        ]
    );
    assert!(!kinds.text().contains(SECRET), "{}", kinds.text());
}

#[tokio::test]
async fn what_makes_no_instance_is_refused_without_its_secret() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    create(&admin, &platform, "db").await;
    let space = to(&platform.space.to_string());
    let refused = async |extra: Value| {
        let mut body = json!({
            "type": "user-provided", "name": "other", "relationships": { "space": space },
        });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        admin.post("/v3/service_instances", body).await.detail(422).to_owned()
    };

    assert_eq!(refused(json!({ "name": "DB" })).await, "The service instance name is taken: DB");
    assert_eq!(refused(json!({ "name": "" })).await, "Name can't be blank");
    let text = refused(json!({ "credentials": SECRET })).await;
    assert_eq!(text, "Credentials must be an object");
    let open = json!({ "route_service_url": "http://a.example" });
    assert_eq!(refused(open).await, "Route service url must be https");
    let no_address = json!({ "syslog_drain_url": "not an address" });
    assert_eq!(refused(no_address).await, "Syslog drain url must be a valid URI");
    assert!(refused(json!({ "type": "managed" })).await.contains("no service brokers"));
    assert!(refused(json!({ "type": "other" })).await.starts_with("Type must be"));
    let long = json!({ "credentials": { "a": SECRET.repeat(70_000) } });
    let text = refused(long).await;
    assert!(text.starts_with("Credentials are too large") && !text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn lists_filter_and_include_what_the_cf_cli_asks_for() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, _) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "db").await;
    create(&admin, &platform, "queue").await;
    let binding = bind(&admin, &id, &app).await;

    let path = format!(
        "/v3/service_instances?names=db&space_guids={}&per_page=1&page=1\
         &fields[service_plan]=name,guid\
         &fields[service_plan.service_offering]=name,guid,description,tags,documentation_url\
         &fields[service_plan.service_offering.service_broker]=name,guid\
         &fields[space]=name,guid&fields[space.organization]=name,guid",
        platform.space
    );
    let list = admin.get(&path).await;
    assert_eq!(list.expect(200)["resources"][0]["guid"], id);
    let space = json!([{ "guid": platform.space.to_string(), "name": "dev" }]);
    assert_eq!(list.body["included"]["spaces"], space);
    assert_eq!(list.body["included"]["organizations"][0]["guid"], platform.org.to_string());
    assert_eq!(list.body["included"]["service_plans"], json!([]));
    let newest = admin.get("/v3/service_instances?order_by=-name").await;
    assert_eq!(newest.names(), ["queue", "db"]);
    let of_brokers = admin.get("/v3/service_instances?type=managed").await;
    assert!(of_brokers.names().is_empty());
    let of_users = admin.get("/v3/service_instances?type=user-provided").await;
    assert_eq!(of_users.names(), ["db", "queue"]);
    admin.get("/v3/service_instances?fields[space]=colour").await.expect(400);
    admin.get("/v3/service_instances?type=other").await.expect(400);

    let path = format!(
        "/v3/service_credential_bindings?type=app&app_guids={app}&service_instance_guids={id}\
         &include=app,service_instance"
    );
    let list = admin.get(&path).await;
    assert_eq!(list.expect(200)["resources"][0]["guid"], binding);
    assert_eq!(list.body["resources"][0]["last_operation"]["state"], "succeeded");
    assert_eq!(list.body["included"]["apps"][0]["name"], "shop");
    assert_eq!(list.body["included"]["service_instances"][0]["name"], "db");
    let total = async |query: &str| {
        let list = admin.get(&format!("/v3/service_credential_bindings?{query}")).await;
        list.expect(200)["pagination"]["total_results"].clone()
    };
    assert_eq!(total("app_names=shop&service_instance_names=db").await, 1);
    assert_eq!(total("service_instance_names=queue").await, 0);
    assert_eq!(total("type=key").await, 0);
}

#[tokio::test]
async fn binding_is_found_after_a_restart_and_a_crash_keeps_what_was_found() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, first) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "db").await;
    bind(&admin, &id, &app).await;
    let env = admin.get(&format!("/v3/apps/{app}/env")).await;
    let found = &env.expect(200)["system_env_json"]["VCAP_SERVICES"]["user-provided"][0];
    assert_eq!(found["credentials"]["password"], SECRET);

    // What runs does not know of it, and neither does what takes its place after a crash.
    platform.cells.end(first, cupola_domain::instances::ExitCause::Exited { code: 1 });
    let after_crash = desired(&platform, |one| one.id != first).await;
    assert_eq!(services(&after_crash), json!({}));

    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    let known = [first, after_crash.id];
    let restarted = desired(&platform, |one| !known.contains(&one.id)).await;
    let entry = &services(&restarted)["user-provided"][0];
    assert_eq!(entry["name"], "db");
    assert_eq!(entry["credentials"], json!({ "password": SECRET }));
    assert_eq!(entry["syslog_drain_url"], "syslog-tls://logs.example:6514");

    // New credentials are for the next start: an instance that crashes comes back as it was.
    let change = json!({ "credentials": { "password": "other" } });
    admin.patch(&format!("/v3/service_instances/{id}"), change).await.expect(200);
    let known = [first, after_crash.id, restarted.id];
    platform.cells.end(restarted.id, cupola_domain::instances::ExitCause::Exited { code: 1 });
    let again = desired(&platform, |one| !known.contains(&one.id)).await;
    assert_eq!(services(&again)["user-provided"][0]["credentials"]["password"], SECRET);
}

#[tokio::test]
async fn task_finds_the_bindings_of_the_moment_it_was_made() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, _) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "db").await;
    let binding = bind(&admin, &id, &app).await;

    let task = json!({ "command": "./migrate" });
    admin.post(&format!("/v3/apps/{app}/tasks"), task).await.expect(202);
    admin.delete(&format!("/v3/service_credential_bindings/{binding}")).await.expect(204);
    let task = desired(&platform, |one| one.work == Work::Task).await;

    assert_eq!(services(&task)["user-provided"][0]["credentials"]["password"], SECRET);
}

#[tokio::test]
async fn second_binding_is_refused_or_with_another_strategy_the_one_that_counts() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, _) = started(&platform, &admin).await;
    let (db, queue) =
        (create(&admin, &platform, "db").await, create(&admin, &platform, "queue").await);
    let path = "/v3/service_credential_bindings";
    let with = |instance: &str, extra: Value| {
        let mut body = binding(instance, &app);
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let refused = async |instance: &str, extra: Value| {
        admin.post(path, with(instance, extra)).await.detail(422).to_owned()
    };
    admin.post(path, with(&db, json!({ "name": "primary" }))).await.expect(201);

    let again = refused(&db, json!({})).await;
    assert_eq!(again, "The app is already bound to the service instance");
    let renamed = refused(&db, json!({ "strategy": "multiple", "name": "x" })).await;
    assert!(renamed.starts_with("The binding name cannot be changed"), "{renamed}");
    let same = refused(&queue, json!({ "name": "primary" })).await;
    assert!(same.contains("already has a binding with name 'primary'"), "{same}");
    let parameters = refused(&queue, json!({ "parameters": { "a": 1 } })).await;
    assert!(parameters.starts_with("Binding parameters are not supported"), "{parameters}");
    let bad_name = refused(&queue, json!({ "name": "a b" })).await;
    assert!(bad_name.starts_with("The binding name is invalid"), "{bad_name}");
    let key = refused(&queue, json!({ "type": "key", "name": "k" })).await;
    assert!(key.contains("type 'key' are not supported for user-provided"), "{key}");
    let other = refused(&queue, json!({ "strategy": "many" })).await;
    assert_eq!(other, "Strategy must be 'single' or 'multiple'");
    for _ in 0..4 {
        let body = with(&db, json!({ "strategy": "multiple", "name": "primary" }));
        admin.post(path, body).await.expect(201);
    }
    let more = refused(&db, json!({ "strategy": "multiple", "name": "primary" })).await;
    assert!(more.contains("too many bindings"), "{more}");
    let env = admin.get(&format!("/v3/apps/{app}/env")).await;
    let found = &env.expect(200)["system_env_json"]["VCAP_SERVICES"]["user-provided"];
    assert_eq!(found.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn deleting_an_instance_an_app_or_a_space_takes_the_bindings_along() {
    let mut platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, _) = started(&platform, &admin).await;
    let (db, queue) =
        (create(&admin, &platform, "db").await, create(&admin, &platform, "queue").await);
    let (of_db, of_queue) = (bind(&admin, &db, &app).await, bind(&admin, &queue, &app).await);
    let path = |binding: &str| format!("/v3/service_credential_bindings/{binding}");

    admin.delete(&format!("/v3/service_instances/{db}?purge=true")).await.expect(204);
    assert_eq!(admin.get(&path(&of_db)).await.detail(404), "Service credential binding not found");
    admin.get(&path(&of_queue)).await.expect(200);
    let delete = admin.delete(&format!("/v3/apps/{app}")).await;
    delete.expect(202);
    admin.get(&delete.location()).await.expect(200);
    admin.get(&path(&of_queue)).await.expect(404);
    admin.get(&format!("/v3/service_instances/{queue}")).await.expect(200);
    let delete = admin.delete(&format!("/v3/spaces/{}", platform.space)).await;
    delete.expect(202);
    admin.get(&delete.location()).await.expect(200);
    admin.get(&format!("/v3/service_instances/{queue}")).await.expect(404);
    platform.restart_loops().await;
}

#[tokio::test]
async fn credentials_are_for_developers_and_supporters_bind_without_seeing_them() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, _) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "db").await;
    let developer = platform.as_user("dora", &[RoleKind::SpaceDeveloper]).await;
    let supporter = platform.as_user("sam", &[RoleKind::SpaceSupporter]).await;
    let auditor = platform.as_user("ada", &[RoleKind::SpaceAuditor]).await;
    let secret = format!("/v3/service_instances/{id}/credentials");

    developer.get(&secret).await.expect(200);
    supporter.get(&secret).await.expect(403);
    auditor.get(&secret).await.expect(403);
    let binding = bind(&supporter, &id, &app).await;
    let details = format!("/v3/service_credential_bindings/{binding}/details");
    let shown = developer.get(&details).await;
    assert_eq!(shown.expect(200)["credentials"]["password"], SECRET);
    supporter.get(&details).await.expect(404);
    let env = supporter.get(&format!("/v3/apps/{app}/env")).await;
    assert!(!env.text().contains(SECRET), "{}", env.text());
    env.expect(200);
    let change = json!({ "name": "other" });
    supporter.patch(&format!("/v3/service_instances/{id}"), change).await.expect(403);
    supporter.delete(&format!("/v3/service_credential_bindings/{binding}")).await.expect(204);
    let may = format!("/v3/service_instances/{id}/permissions");
    assert_eq!(*developer.get(&may).await.expect(200), json!({ "read": true, "manage": true }));
    assert_eq!(*auditor.get(&may).await.expect(200), json!({ "read": true, "manage": false }));
}

#[tokio::test]
async fn what_only_brokers_have_is_refused_in_the_words_that_clients_know() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, _) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "db").await;
    let binding = bind(&admin, &id, &app).await;
    let path = format!("/v3/service_instances/{id}");

    let parameters = admin.get(&format!("{path}/parameters")).await;
    let detail = "This service does not support fetching service instance parameters.";
    assert_eq!(parameters.detail(400), detail);
    let of_binding = format!("/v3/service_credential_bindings/{binding}/parameters");
    admin.get(&of_binding).await.expect(502);
    let shared = format!("{path}/relationships/shared_spaces");
    assert_eq!(admin.get(&shared).await.expect(200)["data"], json!([]));
    admin.get(&format!("{shared}/usage_summary")).await.expect(200);
    let body = json!({ "data": [{ "guid": platform.space.to_string() }] });
    let refused = admin.post(&shared, body).await;
    assert_eq!(refused.detail(422), "User-provided services cannot be shared.");
    admin.delete(&format!("{shared}/{}", platform.space)).await.expect(422);
}

#[tokio::test]
async fn files_take_the_place_of_the_variable_one_feature_at_a_time() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, first) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "db").await;
    bind(&admin, &id, &app).await;
    let feature = |name: &str| format!("/v3/apps/{app}/features/{name}");
    let (on, off) = (json!({ "enabled": true }), json!({ "enabled": false }));

    admin.patch(&feature("service-binding-k8s"), on.clone()).await.expect(200);
    let both = admin.patch(&feature("file-based-vcap-services"), on.clone()).await;
    assert!(both.detail(422).ends_with("cannot be enabled at the same time."));
    admin.patch(&feature("file-based-vcap-services"), off.clone()).await.expect(200);
    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    let folders = desired(&platform, |one| one.id != first).await;
    let password = folders.files.iter().find(|file| file.path == "db/password").unwrap();
    assert_eq!(password.content, SECRET);
    assert_eq!(environment(&folders)["SERVICE_BINDING_ROOT"], "/etc/cf-service-bindings");
    assert_eq!(environment(&folders).get("VCAP_SERVICES"), None);
    let env = admin.get(&format!("/v3/apps/{app}/env")).await;
    let root = json!({ "SERVICE_BINDING_ROOT": "/etc/cf-service-bindings" });
    assert_eq!(env.expect(200)["system_env_json"], root);

    admin.patch(&feature("service-binding-k8s"), off).await.expect(200);
    admin.patch(&feature("file-based-vcap-services"), on).await.expect(200);
    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    let known = [first, folders.id];
    let one_file = desired(&platform, |one| !known.contains(&one.id)).await;
    assert_eq!(one_file.files[0].path, "vcap_services");
    assert!(one_file.files[0].content.contains(SECRET));
    let path = format!("/v3/audit_events?types=audit.app.update&target_guids={app}");
    let events = admin.get(&path).await;
    events.expect(200);
    assert!(events.text().contains("feature service-binding-k8s"), "{}", events.text());
}

#[tokio::test]
async fn bindings_that_cannot_be_told_stop_the_start_and_say_why() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, _) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "Big_DB").await;
    bind(&admin, &id, &app).await;
    let path = format!("/v3/apps/{app}/features/service-binding-k8s");
    admin.patch(&path, json!({ "enabled": true })).await.expect(200);

    let refused = admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await;

    let detail = refused.detail(422);
    assert!(detail.starts_with("Invalid binding name: 'Big_DB'"), "{detail}");
}

#[tokio::test]
async fn manifest_binds_names_and_objects_and_a_written_one_has_them() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    create(&admin, &platform, "db").await;
    create(&admin, &platform, "queue").await;
    let manifest = "applications:\n- name: shop\n  services:\n  - db\n  \
                    - name: queue\n    binding_name: jobs\n";
    let diff = async |manifest: &str| {
        let path = format!("/v3/spaces/{space}/manifest_diff");
        let body = manifest.as_bytes().to_vec();
        let answer = admin.send(http::Method::POST, &path, crate::push::YAML, body).await;
        answer.expect(201)["diff"].clone()
    };

    let job = apply(&admin, &space, manifest).await;
    assert_eq!(job.expect(200)["state"], "COMPLETE", "{}", job.text());
    let job = apply(&admin, &space, manifest).await;
    assert_eq!(job.expect(200)["state"], "COMPLETE", "{}", job.text());
    let bindings = admin.get("/v3/service_credential_bindings").await;
    assert_eq!(bindings.expect(200)["pagination"]["total_results"], 2);
    let app = admin.get("/v3/apps?names=shop").await;
    let app = app.expect(200)["resources"][0]["guid"].as_str().unwrap();
    let written = admin.get(&format!("/v3/apps/{app}/manifest")).await.text();
    assert!(
        written.contains("  services:\n  - db\n  - name: queue\n    binding_name: jobs\n"),
        "{written}"
    );
    assert_eq!(diff(manifest).await, json!([]));
    create(&admin, &platform, "mail").await;
    let more = "applications:\n- name: shop\n  services: [db, mail]\n";
    let added = json!([{ "op": "add", "path": "/applications/0/services/1", "value": "mail" }]);
    assert_eq!(diff(more).await, added);

    let unknown = "applications:\n- name: shop\n  services: [nothing]\n";
    let job = apply(&admin, &space, unknown).await;
    let text = job.text();
    assert!(text.contains("Service instance 'nothing' not found"), "{text}");
}

#[tokio::test]
async fn no_file_of_the_database_has_a_secret() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let (app, first) = started(&platform, &admin).await;
    let id = create(&admin, &platform, "db").await;
    bind(&admin, &id, &app).await;
    let task = json!({ "command": "./migrate" });
    admin.post(&format!("/v3/apps/{app}/tasks"), task).await.expect(202);
    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    desired(&platform, |one| one.id != first && one.work == Work::Process).await;

    let files = platform.database_files();

    let holds = |bytes: &[u8], text: &str| {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    assert!(files.iter().any(|bytes| holds(bytes, "generations")), "the database is there");
    assert!(files.iter().any(|bytes| holds(bytes, &id)), "its rows are written");
    assert!(!files.iter().any(|bytes| holds(bytes, SECRET)));
}
