//! `/cupola/v1/revisions/{guid}/restore`: back to a revision with what surrounded it.

use cupola_domain::{instances::ExitCause, roles::RoleKind};
use cupola_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::{
    deployments::{deploy, reason, routed, running, scale, settled, web},
    push::{apply, push, staged, to},
};

/// The path of the restoration of a revision by its number.
async fn restore_of(client: &Client<'_>, app: &str, version: u32) -> String {
    let revisions = client.get(&format!("/v3/apps/{app}/revisions?versions={version}")).await;
    let guid = revisions.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    format!("/cupola/v1/revisions/{guid}/restore")
}

/// A second revision, with two instances more and another route.
async fn second_revision(client: &Client<'_>, app: &str) {
    let (_, droplet) = staged(client, app).await;
    let created = deploy(client, app, json!({ "droplet": { "guid": droplet } })).await;
    assert_eq!(reason(&settled(client, &created).await), "DEPLOYED");
    scale(client, app, 3).await;
}

async fn addresses(client: &Client<'_>, app: &str) -> Vec<String> {
    let routes = client.get(&format!("/v3/apps/{app}/routes")).await;
    let routes = routes.expect(200)["resources"].as_array().unwrap().clone();
    let mut urls: Vec<String> =
        routes.iter().map(|route| route["url"].as_str().unwrap().to_owned()).collect();
    urls.sort();
    urls
}

async fn only_route(client: &Client<'_>, app: &str) -> String {
    let routes = client.get(&format!("/v3/apps/{app}/routes")).await;
    routes.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned()
}

async fn map(client: &Client<'_>, space: &str, host: &str, app: &str) -> Answer {
    let domains = client.get("/v3/domains").await;
    let domain = domains.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let relationships = json!({ "space": to(space), "domain": to(&domain) });
    let new = json!({ "host": host, "relationships": relationships });
    let route = client.post("/v3/routes", new).await;
    let path = format!("/v3/routes/{}/destinations", route.guid());
    let to_app = json!({ "destinations": [{ "app": { "guid": app } }] });
    client.post(&path, to_app).await.expect(200);
    route
}

async fn unmap_all(client: &Client<'_>, route: &str) {
    let path = format!("/v3/routes/{route}/destinations");
    client.patch(&path, json!({ "destinations": [] })).await.expect(200);
}

async fn instances(client: &Client<'_>, app: &str) -> Value {
    client.get(&format!("/v3/processes/{app}")).await.expect(200)["instances"].clone()
}

#[tokio::test]
async fn scale_and_routes_are_as_they_were_when_the_old_revision_runs_again() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let before = addresses(&admin, &app).await;
    let first_route = only_route(&admin, &app).await;
    second_revision(&admin, &app).await;
    unmap_all(&admin, &first_route).await;
    map(&admin, &space, "other", &app).await;
    let path = restore_of(&admin, &app, 1).await;

    let preview = admin.get(&path).await;
    let created = admin.post(&path, json!({})).await;
    let deployed = settled(&admin, &created).await;

    let preview = preview.expect(200);
    assert_eq!(preview["code"], true);
    assert_eq!(preview["present"], 2);
    assert_eq!(preview["processes"][0]["from"]["instances"], 3);
    assert_eq!(preview["processes"][0]["to"]["instances"], 1);
    assert_eq!(preview["routes_added"], json!(before));
    assert_eq!(preview["routes_removed"], json!(["other.apps.cupola.test"]));
    assert_eq!(preview["lost"], json!([]));
    assert_eq!(reason(&deployed), "DEPLOYED", "{}", deployed.text());
    assert_eq!(addresses(&admin, &app).await, before);
    assert_eq!(instances(&admin, &app).await, 1);
    routed(&platform, |ids| ids.len() == 1).await;
    let newest = admin.get(&format!("/v3/apps/{app}/revisions?versions=3")).await;
    assert_eq!(
        newest.expect(200)["resources"][0]["description"],
        "New droplet deployed. Rolled back to revision 1. Restored scale and routes."
    );
    let events = admin.get("/v3/audit_events?types=audit.app.deployment.create").await;
    let data = &events.expect(200)["resources"].as_array().unwrap().last().unwrap()["data"];
    assert_eq!(data["request"]["restores"]["instances"], json!({ "web": 1 }));
    let again = admin.post(&restore_of(&admin, &app, 3).await, json!({})).await;
    assert!(again.detail(422).starts_with("Everything is as it was"), "{}", again.text());
}

#[tokio::test]
async fn manifest_of_a_push_counts_as_part_of_the_revision_that_it_brings() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let manifest = "applications:\n- name: shop\n  instances: 4\n  health-check-type: http\n";
    apply(&admin, &platform.space.to_string(), manifest).await;
    let (_, droplet) = staged(&admin, &app).await;
    let created = deploy(&admin, &app, json!({ "droplet": { "guid": droplet } })).await;
    assert_eq!(reason(&settled(&admin, &created).await), "DEPLOYED");
    let path = restore_of(&admin, &app, 1).await;

    let preview = admin.get(&path).await;
    let restored = admin.post(&path, json!({})).await;
    let restored = settled(&admin, &restored).await;

    let process = &preview.expect(200)["processes"][0];
    assert_eq!(process["to"]["instances"], 1);
    assert_eq!(process["checks"], true);
    assert_eq!(reason(&restored), "DEPLOYED");
    let web = admin.get(&format!("/v3/processes/{app}")).await;
    assert_eq!(web.expect(200)["health_check"]["type"], "port");
    assert_eq!(web.body["instances"], 1);
}

#[tokio::test]
async fn route_that_leads_to_another_app_now_is_told_and_left_to_it() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let route = only_route(&admin, &app).await;
    let other = push(&admin, &platform.space.to_string(), "other").await;
    second_revision(&admin, &app).await;
    let path = format!("/v3/routes/{route}/destinations");
    let to_other = json!({ "destinations": [{ "app": { "guid": other } }] });
    admin.patch(&path, to_other).await.expect(200);
    let restore = restore_of(&admin, &app, 1).await;

    let preview = admin.get(&restore).await;
    let refused = admin.post(&restore, json!({})).await;
    let partial = admin.post(&restore, json!({ "partial": true })).await;
    let partial = settled(&admin, &partial).await;

    assert_eq!(preview.expect(200)["lost"][0]["what"], "route shop.apps.cupola.test");
    let told = "Not everything can be as it was with revision 1: route shop.apps.cupola.test: it \
                leads to another app now";
    assert!(refused.detail(422).starts_with(told), "{}", refused.text());
    assert_eq!(reason(&partial), "DEPLOYED");
    assert_eq!(addresses(&admin, &app).await, Vec::<String>::new());
    assert!(addresses(&admin, &other).await.contains(&"shop.apps.cupola.test".to_owned()));
}

#[tokio::test]
async fn route_of_another_space_comes_back_while_it_is_shared() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let org = json!({ "organization": to(&platform.org.to_string()) });
    let new = json!({ "name": "other", "relationships": org });
    let other = admin.post("/v3/spaces", new).await.guid();
    let domains = admin.get("/v3/domains").await;
    let domain = domains.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let relationships = json!({ "space": to(&other), "domain": to(&domain) });
    let new = json!({ "host": "theirs", "relationships": relationships });
    let route = admin.post("/v3/routes", new).await.guid();
    let on = json!({ "enabled": true });
    admin.patch("/v3/feature_flags/route_sharing", on).await.expect(200);
    let shared = format!("/v3/routes/{route}/relationships/shared_spaces");
    let with = json!({ "data": [{ "guid": platform.space.to_string() }] });
    admin.post(&shared, with).await.expect(200);
    let to_app = json!({ "destinations": [{ "app": { "guid": app } }] });
    admin.post(&format!("/v3/routes/{route}/destinations"), to_app).await.expect(200);
    second_revision(&admin, &app).await;
    let path = restore_of(&admin, &app, 1).await;
    let options = json!({ "options": { "loadbalancing": "least-connection" } });
    admin.patch(&format!("/v3/routes/{route}"), options).await.expect(200);
    let of_owner = admin.get(&path).await;
    unmap_all(&admin, &route).await;

    let restored = settled(&admin, &admin.post(&path, json!({})).await).await;
    let back = addresses(&admin, &app).await;
    admin.delete(&format!("{shared}/{}", platform.space)).await.expect(204);
    let lost = admin.get(&restore_of(&admin, &app, 1).await).await;

    assert_eq!(of_owner.expect(200)["routes_changed"], json!([]));
    assert_eq!(of_owner.body["lost"][0]["why"], "the space that shares it sets them");
    assert_eq!(reason(&restored), "DEPLOYED", "{}", restored.text());
    assert!(back.contains(&"theirs.apps.cupola.test".to_owned()), "{back:?}");
    assert_eq!(lost.expect(200)["lost"][0]["why"], "it belongs to another space now");
}

#[tokio::test]
async fn options_and_weight_of_a_route_come_back_and_are_recorded() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let route = only_route(&admin, &app).await;
    let path = format!("/v3/routes/{route}");
    let options = |one: &str| json!({ "options": { "loadbalancing": one } });
    admin.patch(&path, options("round-robin")).await.expect(200);
    second_revision(&admin, &app).await;
    admin.patch(&path, options("least-connection")).await.expect(200);
    let weighted = json!({ "destinations": [{ "app": { "guid": app }, "weight": 10 }] });
    admin.post(&format!("{path}/destinations"), weighted).await.expect(200);
    platform.clock.advance(std::time::Duration::from_secs(60));

    let created = admin.post(&restore_of(&admin, &app, 1).await, json!({})).await;
    let restored = settled(&admin, &created).await;

    assert_eq!(reason(&restored), "DEPLOYED", "{}", restored.text());
    let shown = admin.get(&path).await;
    assert_eq!(shown.expect(200)["options"], json!({ "loadbalancing": "round-robin" }));
    assert_eq!(shown.body["destinations"][0]["weight"], Value::Null);
    assert!(shown.body["updated_at"].as_str() > shown.body["created_at"].as_str());
    let events = admin.get(&format!("/v3/audit_events?target_guids={route}")).await;
    let last = &events.expect(200)["resources"].as_array().unwrap().last().unwrap();
    assert_eq!(last["type"], "audit.route.update");
    assert_eq!(last["data"]["request"]["options"], json!({ "loadbalancing": "round-robin" }));
    let mapped = admin.get("/v3/audit_events?types=audit.app.map-route").await;
    let last = &mapped.expect(200)["resources"].as_array().unwrap().last().unwrap();
    assert_eq!(last["data"]["weight"], Value::Null);
}

#[tokio::test]
async fn rollback_that_fails_leaves_scale_checks_and_routes_alone() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    second_revision(&admin, &app).await;
    map(&admin, &platform.space.to_string(), "other", &app).await;
    let (web_before, routes_before) =
        (instances(&admin, &app).await, addresses(&admin, &app).await);
    platform.cells.let_crash(web(&app), ExitCause::Exited { code: 3 });

    let created = admin.post(&restore_of(&admin, &app, 1).await, json!({})).await;
    let ended = settled(&admin, &created).await;

    assert_eq!(reason(&ended), "CANCELED", "{}", ended.text());
    assert_eq!(instances(&admin, &app).await, web_before);
    assert_eq!(addresses(&admin, &app).await, routes_before);
}

async fn service(client: &Client<'_>, space: &str, name: &str) -> String {
    let relationships = json!({ "space": to(space) });
    let new = json!({ "type": "user-provided", "name": name, "relationships": relationships });
    client.post("/v3/service_instances", new).await.guid()
}

async fn bind(client: &Client<'_>, instance: &str, app: &str) -> String {
    let relationships = json!({ "service_instance": to(instance), "app": to(app) });
    let new = json!({ "type": "app", "relationships": relationships });
    client.post("/v3/service_credential_bindings", new).await.guid()
}

async fn bound(client: &Client<'_>, app: &str) -> Vec<String> {
    let list = client.get(&format!("/v3/service_credential_bindings?app_guids={app}")).await;
    let list = list.expect(200)["resources"].as_array().unwrap().clone();
    let of = |one: &Value| {
        one["relationships"]["service_instance"]["data"]["guid"].as_str().unwrap().to_owned()
    };
    list.iter().map(of).collect()
}

#[tokio::test]
async fn bindings_are_as_they_were_and_as_they_are_if_the_rollback_fails() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let space = platform.space.to_string();
    let (database, mail) =
        (service(&admin, &space, "db").await, service(&admin, &space, "mail").await);
    let first = bind(&admin, &database, &app).await;
    second_revision(&admin, &app).await;
    admin.delete(&format!("/v3/service_credential_bindings/{first}")).await;
    bind(&admin, &mail, &app).await;
    let path = restore_of(&admin, &app, 1).await;

    let preview = admin.get(&path).await;
    platform.cells.let_crash(web(&app), ExitCause::Exited { code: 3 });
    let failed = settled(&admin, &admin.post(&path, json!({})).await).await;
    let after_failure = bound(&admin, &app).await;
    platform.cells.let_run(web(&app));
    let restored = settled(&admin, &admin.post(&path, json!({})).await).await;

    assert_eq!(preview.expect(200)["bindings_added"], json!(["db"]));
    assert_eq!(preview.body["bindings_removed"], json!(["mail"]));
    assert_eq!(reason(&failed), "CANCELED", "{}", failed.text());
    assert_eq!(after_failure, [mail]);
    assert_eq!(reason(&restored), "DEPLOYED", "{}", restored.text());
    assert_eq!(bound(&admin, &app).await, [database]);
    let desired = platform.cells.desired();
    let told = &desired[0].environment.iter().find(|(name, _)| name == "VCAP_SERVICES").unwrap().1;
    assert!(told.contains("\"db\"") && !told.contains("\"mail\""), "{told}");
}

/// An app whose first revision was bound to `db` and whose second is bound to `mail`, and the two
/// instances.
async fn bound_otherwise(client: &Client<'_>, space: &str, app: &str) -> (String, String) {
    let (database, mail) =
        (service(client, space, "db").await, service(client, space, "mail").await);
    let first = bind(client, &database, app).await;
    second_revision(client, app).await;
    client.delete(&format!("/v3/service_credential_bindings/{first}")).await.expect(204);
    bind(client, &mail, app).await;
    (database, mail)
}

async fn memory(client: &Client<'_>, app: &str) -> Value {
    client.get(&format!("/v3/processes/{app}")).await.expect(200)["memory_in_mb"].clone()
}

#[tokio::test]
async fn revision_that_is_left_by_a_rollback_comes_back_with_its_bindings() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let (database, mail) = bound_otherwise(&admin, &platform.space.to_string(), &app).await;
    let back = admin.post(&restore_of(&admin, &app, 1).await, json!({})).await;
    assert_eq!(reason(&settled(&admin, &back).await), "DEPLOYED");
    assert_eq!(bound(&admin, &app).await, [database]);

    let forward = admin.post(&restore_of(&admin, &app, 2).await, json!({})).await;
    let forward = settled(&admin, &forward).await;

    assert_eq!(reason(&forward), "DEPLOYED", "{}", forward.text());
    assert_eq!(bound(&admin, &app).await, [mail]);
    assert_eq!(instances(&admin, &app).await, 3);
}

#[tokio::test]
async fn what_takes_the_place_of_a_rollback_finds_limits_and_bindings_as_they_were() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let scale = format!("/v3/processes/{app}/actions/scale");
    let (_, mail) = bound_otherwise(&admin, &platform.space.to_string(), &app).await;
    let before = memory(&admin, &app).await;
    admin.post(&scale, json!({ "memory_in_mb": 512 })).await.expect(202);
    let (_, droplet) = staged(&admin, &app).await;
    let third = deploy(&admin, &app, json!({ "droplet": { "guid": droplet } })).await;
    assert_eq!(reason(&settled(&admin, &third).await), "DEPLOYED");
    let path = restore_of(&admin, &app, 1).await;
    let canary = json!({ "strategy": "canary" });

    let first = admin.post(&path, canary.clone()).await;
    assert_eq!(reason(&settled(&admin, &first).await), "PAUSED");
    assert_eq!(memory(&admin, &app).await, before);
    let deployed = deploy(&admin, &app, json!({ "droplet": { "guid": droplet } })).await;
    assert_eq!(reason(&settled(&admin, &deployed).await), "DEPLOYED");
    let after_deployment = (bound(&admin, &app).await, memory(&admin, &app).await);
    let second = admin.post(&path, canary).await;
    assert_eq!(reason(&settled(&admin, &second).await), "PAUSED");
    admin.post(&format!("/v3/apps/{app}/actions/stop"), json!({})).await.expect(200);
    let after_stop = (bound(&admin, &app).await, memory(&admin, &app).await);

    assert_eq!(after_deployment, (vec![mail.clone()], json!(512)));
    assert_eq!(after_stop, (vec![mail], json!(512)));
    assert_eq!(reason(&settled(&admin, &second).await), "SUPERSEDED");
}

#[tokio::test]
async fn rollback_that_takes_the_place_of_another_one_restores_the_whole() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let (database, _) = bound_otherwise(&admin, &platform.space.to_string(), &app).await;
    let path = restore_of(&admin, &app, 1).await;
    let first = admin.post(&path, json!({ "strategy": "canary" })).await;
    assert_eq!(reason(&settled(&admin, &first).await), "PAUSED");

    let preview = admin.get(&path).await;
    let second = admin.post(&path, json!({})).await;
    let second = settled(&admin, &second).await;

    assert_eq!(preview.expect(200)["bindings_added"], json!(["db"]));
    assert_eq!(preview.body["bindings_removed"], json!(["mail"]));
    assert_eq!(reason(&second), "DEPLOYED", "{}", second.text());
    assert_eq!(bound(&admin, &app).await, [database]);
    assert_eq!(instances(&admin, &app).await, 1);
}

#[tokio::test]
async fn step_that_is_refused_at_the_end_is_told_and_the_rollback_ends() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let flag = "/v3/feature_flags/hash_based_routing";
    admin.patch(flag, json!({ "enabled": true })).await.expect(200);
    let route = format!("/v3/routes/{}", only_route(&admin, &app).await);
    let hash = json!({ "options": { "loadbalancing": "hash", "hash_header": "X-User" } });
    admin.patch(&route, hash).await.expect(200);
    second_revision(&admin, &app).await;
    admin.delete(&route).await.expect(202);
    let path = restore_of(&admin, &app, 1).await;
    let created = admin.post(&path, json!({ "strategy": "canary" })).await;
    assert_eq!(reason(&settled(&admin, &created).await), "PAUSED");
    admin.patch(flag, json!({ "enabled": false })).await.expect(200);

    let deployment = format!("/v3/deployments/{}", created.guid());
    admin.post(&format!("{deployment}/actions/continue"), json!({})).await.expect(200);
    let ended = admin.get(&deployment).await;

    assert_eq!(reason(&ended), "DEPLOYED", "{}", ended.text());
    assert_eq!(instances(&admin, &app).await, 1);
    let told = "Rolling back leaves the route shop.apps.cupola.test as it is: Options";
    let lines = platform.logs.lines(&app);
    assert!(lines.iter().any(|line| line.starts_with(told)), "{lines:?}");
}

#[tokio::test]
async fn sidecars_alone_are_reason_enough_to_go_back() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let sidecar = json!({ "name": "proxy", "command": "./proxy", "process_types": ["web"] });
    admin.post(&format!("/v3/apps/{app}/sidecars"), sidecar).await.expect(201);
    let second = deploy(&admin, &app, json!({})).await;
    assert_eq!(reason(&settled(&admin, &second).await), "DEPLOYED");
    let path = restore_of(&admin, &app, 1).await;

    let preview = admin.get(&path).await;
    let restored = settled(&admin, &admin.post(&path, json!({})).await).await;

    assert_eq!(preview.expect(200)["sidecars"], json!(["proxy"]));
    assert_eq!(reason(&restored), "DEPLOYED", "{}", restored.text());
    let left = admin.get(&format!("/v3/apps/{app}/sidecars")).await;
    assert_eq!(left.expect(200)["resources"], json!([]));
}

#[tokio::test]
async fn canary_restores_what_surrounds_only_when_it_is_continued() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    second_revision(&admin, &app).await;

    let path = restore_of(&admin, &app, 1).await;
    let created = admin.post(&path, json!({ "strategy": "canary" })).await;
    let paused = settled(&admin, &created).await;
    let while_paused = instances(&admin, &app).await;
    let path = format!("/v3/deployments/{}", created.guid());
    admin.post(&format!("{path}/actions/continue"), json!({})).await.expect(200);
    let ended = admin.get(&path).await;

    assert_eq!(reason(&paused), "PAUSED");
    assert_eq!(while_paused, 3);
    assert_eq!(reason(&ended), "DEPLOYED");
    assert_eq!(instances(&admin, &app).await, 1);
}

#[tokio::test]
async fn rollback_of_cf_leaves_scale_and_routes_as_they_are() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    second_revision(&admin, &app).await;
    let first = admin.get(&format!("/v3/apps/{app}/revisions?versions=1")).await;
    let first = first.expect(200)["resources"][0]["guid"].clone();

    let created = deploy(&admin, &app, json!({ "revision": { "guid": first } })).await;

    assert_eq!(reason(&settled(&admin, &created).await), "DEPLOYED");
    assert_eq!(instances(&admin, &app).await, 3);
}

#[tokio::test]
async fn restoring_is_for_those_who_operate_the_app() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let auditor = platform.as_user("bob", &[RoleKind::SpaceAuditor]).await;
    let supporter = platform.as_user("sue", &[RoleKind::SpaceSupporter]).await;
    let stranger = platform.as_user("eve", &[]).await;
    let path = restore_of(&admin, &app, 1).await;

    supporter.get(&path).await.expect(200);
    assert_eq!(stranger.get(&path).await.detail(404), "Revision not found");
    assert_eq!(stranger.post(&path, json!({})).await.detail(404), "Revision not found");
    let refused = "You are not authorized to perform the requested action";
    assert_eq!(auditor.get(&path).await.detail(403), refused);
    assert_eq!(auditor.post(&path, json!({})).await.detail(403), refused);
    assert_eq!(platform.anonymous().get(&path).await.detail(401), "Authentication error");
}
