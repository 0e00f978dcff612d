//! Deployments and revisions, with every loop running.

use std::time::Duration;

use cupola_domain::{
    ids::{AppId, InstanceId, ProcessId},
    instances::ExitCause,
    route_table::RouteTable,
    traffic::{Ending, RequestCounts},
};
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use serde_json::{Value, json};

use crate::push::{platform, push, staged, to};

pub(crate) fn web(app: &str) -> ProcessId {
    ProcessId::from_uuid(app.parse::<AppId>().unwrap().uuid())
}

pub(crate) async fn deploy(client: &Client<'_>, app: &str, more: Value) -> Answer {
    let mut body = json!({ "relationships": { "app": to(app) } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("/v3/deployments", body).await
}

/// The deployment when it has ended or paused, or after a while.
pub(crate) async fn settled(client: &Client<'_>, deployment: &Answer) -> Answer {
    deployment.expect(201);
    client.get(&format!("/v3/deployments/{}", deployment.guid())).await
}

pub(crate) fn reason(answer: &Answer) -> &str {
    answer.expect(200)["status"]["reason"].as_str().unwrap()
}

pub(crate) async fn scale(client: &Client<'_>, app: &str, instances: u32) {
    let path = format!("/v3/apps/{app}/processes/web/actions/scale");
    client.post(&path, json!({ "instances": instances })).await.expect(202);
}

/// The instances that requests are sent to, once `is_right`.
pub(crate) async fn routed(
    platform: &TestPlatform,
    is_right: impl Fn(&[InstanceId]) -> bool,
) -> Vec<InstanceId> {
    let ids = |table: &RouteTable| -> Vec<InstanceId> {
        let rules = table.routes.values().flat_map(|entry| &entry.rules);
        let endpoints = rules.flat_map(|rule| &rule.groups).flat_map(|group| &group.endpoints);
        endpoints.map(|endpoint| endpoint.instance_id).collect()
    };
    let mut tables = platform.data_plane.table();
    let found = tables.wait_for(|table| table.as_ref().is_some_and(|t| is_right(&ids(t))));
    let found = tokio::time::timeout(Duration::from_secs(10), found).await;
    ids(found.expect("the table becomes right").unwrap().as_ref().unwrap())
}

/// A platform with a running app of so many instances.
pub(crate) async fn running(instances: u32) -> (TestPlatform, String) {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    scale(&admin, &app, instances).await;
    routed(&platform, |ids| ids.len() == instances as usize).await;
    drop(admin);
    (platform, app)
}

#[tokio::test]
async fn rolling_deployment_replaces_every_instance_and_makes_a_revision() {
    let (platform, app) = running(2).await;
    let admin = platform.as_admin().await;
    let before = routed(&platform, |ids| ids.len() == 2).await;
    let (_, droplet) = staged(&admin, &app).await;

    let created = deploy(&admin, &app, json!({ "droplet": { "guid": droplet } })).await;
    let deployed = settled(&admin, &created).await;

    assert_eq!(reason(&deployed), "DEPLOYED", "{}", deployed.text());
    assert_eq!(deployed.body["status"]["value"], "FINALIZED");
    assert_eq!(deployed.body["strategy"], "rolling");
    assert_eq!(deployed.body["droplet"]["guid"], droplet);
    assert_eq!(deployed.body["revision"]["version"], 2);
    let is_new = |ids: &[InstanceId]| ids.len() == 2 && !ids.iter().any(|id| before.contains(id));
    routed(&platform, is_new).await;
    let revisions = admin.get(&format!("/v3/apps/{app}/revisions")).await;
    let described: Vec<&Value> = revisions.expect(200)["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|revision| &revision["description"])
        .collect();
    assert_eq!(described, ["Initial revision.", "New droplet deployed."]);
    let now = admin.get(&format!("/v3/apps/{app}/revisions/deployed")).await;
    assert_eq!(now.expect(200)["resources"][0]["version"], 2);
    let current = admin.get(&format!("/v3/apps/{app}/relationships/current_droplet")).await;
    assert_eq!(current.expect(200)["data"]["guid"], droplet);
}

#[tokio::test]
async fn old_instance_serves_until_the_new_one_is_ready() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let before = routed(&platform, |ids| ids.len() == 1).await;
    platform.cells.let_start_slowly(web(&app));

    let created = deploy(&admin, &app, json!({})).await;
    let mut desired = platform.cells.watch_desired();
    let both = desired.wait_for(|desired| desired.len() == 2);
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both are wanted").unwrap();
    let serving = routed(&platform, |ids| ids.len() == 1).await;
    platform.cells.let_run(web(&app));
    let deployed = settled(&admin, &created).await;

    assert_eq!(serving, before);
    assert_eq!(reason(&deployed), "DEPLOYED");
    routed(&platform, |ids| ids.len() == 1 && ids != before).await;
}

#[tokio::test]
async fn broken_version_is_cancelled_and_says_why_while_the_old_one_serves() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let before = routed(&platform, |ids| ids.len() == 1).await;
    let old = admin.get(&format!("/v3/apps/{app}/relationships/current_droplet")).await;
    let (_, droplet) = staged(&admin, &app).await;
    platform.cells.let_crash(web(&app), ExitCause::Exited { code: 3 });

    let created = deploy(&admin, &app, json!({ "droplet": { "guid": droplet } })).await;
    let ended = settled(&admin, &created).await;

    assert_eq!(reason(&ended), "CANCELED");
    assert_eq!(ended.body["status"]["details"]["error"], "Exited with status 3");
    let warning = ended.headers["x-cf-warnings"].to_str().unwrap();
    assert_eq!(warning, "The%20new%20instances%20do%20not%20run%3A%20Exited%20with%20status%203");
    assert_eq!(routed(&platform, |ids| ids.len() == 1).await, before);
    let current = admin.get(&format!("/v3/apps/{app}/relationships/current_droplet")).await;
    assert_eq!(current.body["data"], old.body["data"]);
    let lines = platform.logs.lines(&app);
    let told = "Cancelling the deployment: Exited with status 3".to_owned();
    assert!(lines.contains(&told), "{lines:?}");
}

#[tokio::test]
async fn canary_pauses_at_each_step_and_goes_on_when_it_is_told() {
    let (platform, app) = running(4).await;
    let admin = platform.as_admin().await;
    let steps = json!([{ "instance_weight": 25 }, { "instance_weight": 50 }]);
    let options = json!({ "max_in_flight": 2, "canary": { "steps": steps } });

    let created = deploy(&admin, &app, json!({ "strategy": "canary", "options": options })).await;
    let first = settled(&admin, &created).await;
    let path = format!("/v3/deployments/{}", created.guid());
    admin.post(&format!("{path}/actions/continue"), json!({})).await.expect(200);
    let second = admin.get(&path).await;
    admin.post(&format!("{path}/actions/continue"), json!({})).await.expect(200);
    let last = admin.get(&path).await;
    let again = admin.post(&format!("{path}/actions/continue"), json!({})).await;

    assert_eq!(reason(&first), "PAUSED");
    assert_eq!(first.body["status"]["canary"]["steps"], json!({ "current": 1, "total": 2 }));
    assert_eq!(reason(&second), "PAUSED");
    assert_eq!(second.body["status"]["canary"]["steps"], json!({ "current": 2, "total": 2 }));
    assert_eq!(reason(&last), "DEPLOYED");
    let told = "Cannot continue a deployment with status: FINALIZED and reason: DEPLOYED";
    assert_eq!(again.detail(422), told);
}

#[tokio::test]
async fn cancelled_canary_brings_droplet_and_instances_back() {
    let (platform, app) = running(3).await;
    let admin = platform.as_admin().await;
    let old = admin.get(&format!("/v3/apps/{app}/relationships/current_droplet")).await;
    let before = routed(&platform, |ids| ids.len() == 3).await;
    let (_, droplet) = staged(&admin, &app).await;
    let body = json!({ "strategy": "canary", "droplet": { "guid": droplet } });
    let created = deploy(&admin, &app, body).await;
    assert_eq!(reason(&settled(&admin, &created).await), "PAUSED");
    routed(&platform, |ids| ids.len() == 4).await;

    let path = format!("/v3/deployments/{}", created.guid());
    admin.post(&format!("{path}/actions/cancel"), json!({})).await.expect(200);
    let ended = admin.get(&path).await;
    let again = admin.post(&format!("{path}/actions/cancel"), json!({})).await;

    assert_eq!(reason(&ended), "CANCELED");
    assert_eq!(again.detail(422), "Cannot cancel a CANCELED deployment");
    routed(&platform, |ids| *ids == *before).await;
    let current = admin.get(&format!("/v3/apps/{app}/relationships/current_droplet")).await;
    assert_eq!(current.body["data"], old.body["data"]);
}

#[tokio::test]
async fn newer_deployment_takes_the_place_of_the_one_that_is_under_way() {
    let (platform, app) = running(2).await;
    let admin = platform.as_admin().await;
    platform.cells.let_start_slowly(web(&app));
    let first = deploy(&admin, &app, json!({})).await;

    let second = deploy(&admin, &app, json!({})).await;
    platform.cells.let_run(web(&app));

    assert_eq!(reason(&settled(&admin, &first).await), "SUPERSEDED");
    assert_eq!(reason(&settled(&admin, &second).await), "DEPLOYED");
    routed(&platform, |ids| ids.len() == 2).await;
}

#[tokio::test]
async fn cancelled_second_deployment_goes_back_to_what_ran_before_both() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let before = routed(&platform, |ids| ids.len() == 1).await;
    let current = format!("/v3/apps/{app}/relationships/current_droplet");
    let old = admin.get(&current).await;
    let canary = |droplet| json!({ "strategy": "canary", "droplet": { "guid": droplet } });
    let first = deploy(&admin, &app, canary(staged(&admin, &app).await.1)).await;
    assert_eq!(reason(&settled(&admin, &first).await), "PAUSED");
    let second = deploy(&admin, &app, canary(staged(&admin, &app).await.1)).await;
    assert_eq!(reason(&settled(&admin, &second).await), "PAUSED");

    let path = format!("/v3/deployments/{}", second.guid());
    admin.post(&format!("{path}/actions/cancel"), json!({})).await.expect(200);

    assert_eq!(reason(&admin.get(&path).await), "CANCELED");
    assert_eq!(admin.get(&current).await.body["data"], old.body["data"]);
    routed(&platform, |ids| *ids == *before).await;
}

#[tokio::test]
async fn client_that_waits_for_the_first_new_instance_is_told_of_new_ones_only() {
    let (platform, app) = running(2).await;
    let admin = platform.as_admin().await;
    platform.cells.let_start_slowly(web(&app));
    let created = deploy(&admin, &app, json!({})).await;
    let new = created.expect(201)["new_processes"][0]["guid"].as_str().unwrap().to_owned();
    let stats = format!("/v3/processes/{new}/stats");
    let mut desired = platform.cells.watch_desired();
    desired.wait_for(|desired| desired.len() == 3).await.unwrap();

    let (told, ()) = tokio::join!(admin.get(&stats), async {
        platform.cells.let_run(web(&app));
    });

    let states: Vec<&Value> =
        told.expect(200)["resources"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states[0], "RUNNING");
    assert_eq!(reason(&settled(&admin, &created).await), "DEPLOYED");
}

#[tokio::test]
async fn droplet_that_something_runs_of_or_may_go_back_to_is_not_deleted() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let current = format!("/v3/apps/{app}/relationships/current_droplet");
    let old = admin.get(&current).await.expect(200)["data"]["guid"].as_str().unwrap().to_owned();
    let new = staged(&admin, &app).await.1;
    let body = json!({ "strategy": "canary", "droplet": { "guid": new } });
    settled(&admin, &deploy(&admin, &app, body).await).await;

    let refused = admin.delete(&format!("/v3/droplets/{old}")).await;

    assert!(refused.detail(422).contains("instances or tasks run of it"), "{}", refused.text());
}

#[tokio::test]
async fn droplet_is_copied_for_another_app_with_the_same_digest() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let space = to(&platform.space.to_string());
    let body = json!({ "name": "other", "relationships": { "space": space } });
    let other = admin.post("/v3/apps", body).await.guid();
    let source = admin.get(&format!("/v3/apps/{app}/droplets/current")).await;
    source.expect(200);
    let body = json!({ "relationships": { "app": to(&other) } });

    let copy =
        admin.post(&format!("/v3/droplets?source_guid={}", source.guid()), body.clone()).await;
    let unknown = admin.post("/v3/droplets?source_guid=none", body).await;

    assert_eq!(copy.expect(201)["checksum"], source.body["checksum"]);
    assert_eq!(copy.body["relationships"]["app"], to(&other));
    assert!(unknown.detail(422).starts_with("Unable to copy droplet."), "{}", unknown.text());
}

/// Deletes a droplet as soon as the last instance of it has ended.
async fn delete_when_free(client: &Client<'_>, droplet: &str) {
    let path = format!("/v3/droplets/{droplet}");
    let deleted = async {
        loop {
            let answer = client.delete(&path).await;
            if answer.status == 202 {
                return answer;
            }
            assert!(answer.detail(422).contains("instances or tasks run of it"));
            tokio::task::yield_now().await;
        }
    };
    let deleted = tokio::time::timeout(Duration::from_secs(20), deleted).await.unwrap();
    assert_eq!(client.get(&deleted.location()).await.expect(200)["state"], "COMPLETE");
}

#[tokio::test]
async fn droplet_that_was_deleted_is_neither_rolled_back_to_nor_deployed_nor_copied() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let revisions = admin.get(&format!("/v3/apps/{app}/revisions?order_by=-created_at")).await;
    let first = revisions.expect(200)["resources"][0]["guid"].clone();
    let current = admin.get(&format!("/v3/apps/{app}/droplets/current")).await.guid();
    let new = staged(&admin, &app).await.1;
    let created = deploy(&admin, &app, json!({ "droplet": { "guid": new } })).await;
    assert_eq!(reason(&settled(&admin, &created).await), "DEPLOYED");
    let serving = routed(&platform, |ids| ids.len() == 1).await;
    delete_when_free(&admin, &current).await;

    let rolled_back = deploy(&admin, &app, json!({ "revision": { "guid": first } })).await;
    let deployed = deploy(&admin, &app, json!({ "droplet": { "guid": current } })).await;
    let body = json!({ "relationships": { "app": to(&app) } });
    let copied = admin.post(&format!("/v3/droplets?source_guid={current}"), body).await;
    let again = admin.delete(&format!("/v3/droplets/{current}")).await;

    assert!(rolled_back.detail(422).ends_with("no longer exists."), "{}", rolled_back.text());
    assert!(deployed.detail(422).contains("Ensure the droplet exists"), "{}", deployed.text());
    assert!(copied.detail(422).contains("Ensure the source droplet exists"), "{}", copied.text());
    assert_eq!(again.detail(404), "Droplet not found");
    assert_eq!(routed(&platform, |ids| ids.len() == 1).await, serving);
}

#[tokio::test]
async fn droplet_whose_files_are_lost_is_refused_and_says_what_next() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let serving = routed(&platform, |ids| ids.len() == 1).await;
    let droplet = admin.get(&format!("/v3/apps/{app}/droplets/current")).await.guid();
    let body = json!({ "relationships": { "app": to(&app) } });

    platform.layers.lose();
    let deployed = deploy(&admin, &app, json!({})).await;
    let promoted = admin.post(&format!("/v3/droplets?source_guid={droplet}"), body).await;
    let path = format!("/v3/apps/{app}/relationships/current_droplet");
    let assigned = admin.patch(&path, to(&droplet)).await;

    let next = "are no longer kept. Push or stage the app again.";
    assert!(deployed.detail(422).ends_with(next), "{}", deployed.text());
    assert!(promoted.detail(422).ends_with(next), "{}", promoted.text());
    assert!(assigned.detail(422).ends_with(next), "{}", assigned.text());
    let droplets = admin.get(&format!("/v3/apps/{app}/droplets")).await;
    assert_eq!(droplets.expect(200)["pagination"]["total_results"], 1);
    assert_eq!(routed(&platform, |ids| ids.len() == 1).await, serving);
}

#[tokio::test]
async fn what_is_repeated_on_a_deployment_is_answered_cleanly() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let canary = json!({ "strategy": "canary" });
    let first = deploy(&admin, &app, canary.clone()).await;
    assert_eq!(reason(&settled(&admin, &first).await), "PAUSED");
    let act = |id: String, action: &str| format!("/v3/deployments/{id}/actions/{action}");
    let (cancel, go_on) = (act(first.guid(), "cancel"), act(first.guid(), "continue"));

    admin.post(&cancel, json!({})).await.expect(200);
    assert_eq!(reason(&settled(&admin, &first).await), "CANCELED");
    let cancelled_again = admin.post(&cancel, json!({})).await;
    let continued = admin.post(&go_on, json!({})).await;
    let second = deploy(&admin, &app, canary).await;
    assert_eq!(reason(&settled(&admin, &second).await), "PAUSED");
    let go_on = act(second.guid(), "continue");
    admin.post(&go_on, json!({})).await.expect(200);
    assert_eq!(reason(&settled(&admin, &second).await), "DEPLOYED");
    let continued_again = admin.post(&go_on, json!({})).await;

    let says = |answer: &Answer, text: &str| {
        assert!(answer.detail(422).contains(text), "{}", answer.text());
    };
    says(&cancelled_again, "Cannot cancel a CANCELED deployment");
    says(&continued, "Cannot continue a deployment with status: FINALIZED");
    says(&continued_again, "Cannot continue a deployment with status: FINALIZED");
    assert_eq!(reason(&settled(&admin, &first).await), "CANCELED");
    assert_eq!(reason(&settled(&admin, &second).await), "DEPLOYED");
}

#[tokio::test]
async fn restart_and_stop_end_a_deployment() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let canary = json!({ "strategy": "canary" });
    let first = deploy(&admin, &app, canary.clone()).await;
    assert_eq!(reason(&settled(&admin, &first).await), "PAUSED");

    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    routed(&platform, |ids| ids.len() == 1).await;
    let second = deploy(&admin, &app, canary).await;
    assert_eq!(reason(&settled(&admin, &second).await), "PAUSED");
    admin.post(&format!("/v3/apps/{app}/actions/stop"), json!({})).await.expect(200);

    assert_eq!(reason(&settled(&admin, &first).await), "SUPERSEDED");
    assert_eq!(reason(&settled(&admin, &second).await), "SUPERSEDED");
    routed(&platform, <[InstanceId]>::is_empty).await;
}

#[tokio::test]
async fn app_is_deleted_in_the_middle_of_a_deployment() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let created = deploy(&admin, &app, json!({ "strategy": "canary" })).await;
    settled(&admin, &created).await;

    let deleted = admin.delete(&format!("/v3/apps/{app}")).await;
    deleted.expect(202);

    assert_eq!(admin.get(&deleted.location()).await.expect(200)["state"], "COMPLETE");
    routed(&platform, <[InstanceId]>::is_empty).await;
    let gone = admin.get(&format!("/v3/deployments/{}", created.guid())).await;
    assert_eq!(gone.detail(404), "Deployment not found");
}

#[tokio::test]
async fn process_is_scaled_during_a_deployment_and_both_are_done() {
    let (platform, app) = running(2).await;
    let admin = platform.as_admin().await;
    platform.cells.let_start_slowly(web(&app));
    let created = deploy(&admin, &app, json!({})).await;

    scale(&admin, &app, 3).await;
    platform.cells.let_run(web(&app));

    assert_eq!(reason(&settled(&admin, &created).await), "DEPLOYED");
    routed(&platform, |ids| ids.len() == 3).await;
}

#[tokio::test]
async fn options_change_the_number_and_the_size_of_the_new_instances() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let options = json!({ "web_instances": 3, "memory_in_mb": 256, "max_in_flight": 2 });

    let created = deploy(&admin, &app, json!({ "options": options })).await;
    let deployed = settled(&admin, &created).await;

    assert_eq!(reason(&deployed), "DEPLOYED");
    assert_eq!(deployed.body["options"], options);
    routed(&platform, |ids| ids.len() == 3).await;
    let mut desired = platform.cells.watch_desired();
    let resized = desired.wait_for(|desired| {
        desired.len() == 3 && desired.iter().all(|one| one.limits.memory_mib == 256)
    });
    tokio::time::timeout(Duration::from_secs(10), resized).await.expect("all are new").unwrap();
    let process = admin.get(&format!("/v3/processes/{app}")).await;
    assert_eq!(process.expect(200)["instances"], 3);
    assert_eq!(process.body["memory_in_mb"], 256);
}

#[tokio::test]
async fn instance_that_crashes_comes_back_as_it_was_started() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let variables = format!("/v3/apps/{app}/environment_variables");
    admin.patch(&variables, json!({ "var": { "COLOUR": "red" } })).await.expect(200);
    let before = routed(&platform, |ids| ids.len() == 1).await;

    platform.cells.end(before[0], ExitCause::Exited { code: 1 });
    let again = routed(&platform, |ids| ids.len() == 1 && ids != before).await;

    let has_colour = |desired: &[cupola_ports::cells::DesiredInstance]| {
        desired.iter().any(|one| one.environment.iter().any(|(name, _)| name == "COLOUR"))
    };
    assert!(!has_colour(&platform.cells.desired()));
    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    routed(&platform, |ids| ids.len() == 1 && ids != again).await;
    assert!(has_colour(&platform.cells.desired()));
}

#[tokio::test]
async fn rollback_deploys_what_a_revision_was() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let first = admin.get(&format!("/v3/apps/{app}/revisions")).await;
    let first = first.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
    let variables = format!("/v3/apps/{app}/environment_variables");
    admin.patch(&variables, json!({ "var": { "COLOUR": "red" } })).await.expect(200);
    let changed = deploy(&admin, &app, json!({})).await;
    assert_eq!(reason(&settled(&admin, &changed).await), "DEPLOYED");

    let created = deploy(&admin, &app, json!({ "revision": { "guid": first } })).await;
    let deployed = settled(&admin, &created).await;
    let again = deploy(&admin, &app, json!({ "revision": { "guid": first } })).await;

    assert_eq!(reason(&deployed), "DEPLOYED");
    assert_eq!(admin.get(&variables).await.expect(200)["var"], json!({}));
    let newest = admin.get(&format!("/v3/apps/{app}/revisions?versions=3")).await;
    assert_eq!(
        newest.expect(200)["resources"][0]["description"],
        "New environment variables deployed. Rolled back to revision 1."
    );
    assert!(again.detail(422).starts_with("Unable to rollback."), "{}", again.text());
}

#[tokio::test]
async fn what_cannot_be_deployed_is_refused_with_the_reason() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let unknown = "00000000-0000-0000-0000-000000000000";
    let guid = json!({ "guid": unknown });
    let weights = |weights: [i64; 2]| {
        let steps = weights.map(|weight| json!({ "instance_weight": weight }));
        json!({ "strategy": "canary", "options": { "canary": { "steps": steps } } })
    };

    for (body, told) in [
        (json!({ "droplet": guid, "revision": guid }), "Cannot set both fields"),
        (json!({ "droplet": guid }), "Unable to assign current droplet."),
        (json!({ "revision": guid }), "The revision does not exist"),
        (json!({ "strategy": "blue" }), "Strategy 'blue' is not a supported deployment strategy"),
        (json!({ "options": { "max_in_flight": 0 } }), "Max in flight must be an integer"),
        (json!({ "options": { "canary": {} } }), "Options.canary are only valid"),
        (json!({ "options": { "memory_in_mb": 99_999_999 } }), "Memory in mb must be at most"),
        (weights([50, 20]), "Options.canary.steps.instance weight must be sorted"),
        (weights([0, 20]), "Options.canary.steps.instance weight must be an Integer"),
    ] {
        let refused = deploy(&admin, &app, body).await;
        assert!(refused.detail(422).starts_with(told), "{}", refused.text());
    }
    let none = deploy(&admin, unknown, json!({})).await;
    assert!(none.detail(422).starts_with("Unable to use app."), "{}", none.text());
    let all = admin.get("/v3/deployments").await;
    assert_eq!(all.expect(200)["pagination"]["total_results"], 0);
}

#[tokio::test]
async fn deployments_are_listed_by_app_and_status() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let done = deploy(&admin, &app, json!({})).await;
    settled(&admin, &done).await;
    let paused = deploy(&admin, &app, json!({ "strategy": "canary" })).await;
    settled(&admin, &paused).await;

    let active = admin.get(&format!("/v3/deployments?app_guids={app}&status_values=ACTIVE")).await;
    let deployed = admin.get("/v3/deployments?status_reasons=DEPLOYED,CANCELED").await;
    let none = admin.get(&format!("/v3/deployments?app_guids={}", paused.guid())).await;

    assert_eq!(active.expect(200)["resources"][0]["guid"], paused.guid());
    assert_eq!(deployed.expect(200)["resources"][0]["guid"], done.guid());
    assert_eq!(none.expect(200)["pagination"]["total_results"], 0);
}

#[tokio::test]
async fn instance_is_not_stopped_while_it_answers_not_even_by_a_new_control() {
    let (mut platform, app) = running(1).await;
    let answering = routed(&platform, |ids| ids.len() == 1).await[0];
    platform.data_plane.let_in_flight(answering, 1);
    let admin = platform.as_admin().await;
    admin.post(&format!("/v3/apps/{app}/actions/stop"), json!({})).await.expect(200);
    routed(&platform, <[InstanceId]>::is_empty).await;
    drop(admin);

    platform.restart_loops().await;
    routed(&platform, <[InstanceId]>::is_empty).await;
    let still_there = platform.cells.desired().iter().any(|one| one.id == answering);
    platform.data_plane.let_in_flight(answering, 0);
    let mut desired = platform.cells.watch_desired();
    let gone = desired.wait_for(Vec::is_empty);
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it is stopped").unwrap();

    assert!(still_there);
}

#[tokio::test]
async fn instance_is_not_stopped_at_once_while_another_router_may_still_ask_it() {
    let (platform, app) = running(1).await;
    let answering = routed(&platform, |ids| ids.len() == 1).await[0];
    // No report says whether the router that drains waits for an answer.
    platform.data_plane.hand_over();
    let admin = platform.as_admin().await;
    admin.post(&format!("/v3/apps/{app}/actions/stop"), json!({})).await.expect(200);
    routed(&platform, <[InstanceId]>::is_empty).await;

    // Some passes later.
    push(&admin, &platform.space.to_string(), "other").await;
    routed(&platform, |ids| ids.len() == 1).await;
    let is_there = || platform.cells.desired().iter().any(|one| one.id == answering);
    let still_there = is_there();
    platform.clock.advance(Duration::from_secs(30));
    let mut desired = platform.cells.watch_desired();
    let gone = desired.wait_for(|all| all.iter().all(|one| one.id != answering));
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it is stopped").unwrap();

    assert!(still_there);
}

#[tokio::test]
async fn nobody_reads_that_an_instance_runs_before_requests_reach_it() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    platform.data_plane.hold_tables(true);
    let app = push(&admin, &platform.space.to_string(), "shop").await;
    let mut tables = platform.data_plane.wanted();
    let handed_over = tables.wait_for(|table| {
        let mut routes = table.iter().flat_map(|table| table.routes.values());
        routes.any(|entry| {
            entry
                .rules
                .iter()
                .any(|rule| rule.groups.iter().any(|group| !group.endpoints.is_empty()))
        })
    });
    tokio::time::timeout(Duration::from_secs(10), handed_over).await.unwrap().unwrap();

    let instances = format!("/v3/processes/{app}/process_instances");
    let before = admin.get(&instances).await;
    platform.data_plane.hold_tables(false);
    let stats = admin.get(&format!("/v3/processes/{app}/stats")).await;

    assert_eq!(before.expect(200)["resources"][0]["state"], "STARTING");
    assert_eq!(stats.expect(200)["resources"][0]["state"], "RUNNING");
}

fn requests(count: u64, ending: Ending) -> RequestCounts {
    let mut counts = RequestCounts::default();
    (0..count).for_each(|_| counts.record(ending));
    counts
}

/// The cost, once it is as wanted.
async fn cost(client: &Client<'_>, deployment: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/cupola/v1/deployments/{deployment}/cost");
    let look = async {
        loop {
            let cost = client.get(&path).await.expect(200).clone();
            if is_right(&cost) {
                break cost;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), look).await.expect("the cost becomes right")
}

#[tokio::test]
async fn deployment_tells_what_it_cost_the_users_before_during_and_after() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;
    let id: AppId = app.parse().unwrap();
    let answered = |ms| Ending::Answered { status: 200, latency: Duration::from_millis(ms) };
    let second = Duration::from_secs(1);
    platform.data_plane.let_count(true);
    platform.data_plane.tell_counts(second, id, requests(7, answered(2))).await;
    platform.cells.let_start_slowly(web(&app));
    let slow = deploy(&admin, &app, json!({})).await;
    let guid = slow.guid();
    platform.clock.advance(4 * second);
    cost(&admin, &guid, |cost| cost["during"].is_object()).await;

    platform.data_plane.tell_counts(second, id, requests(3, answered(40))).await;
    platform.data_plane.tell_counts(second, id, requests(2, Ending::Failed)).await;
    cost(&admin, &guid, |cost| cost["during"]["failed"] == 2).await;
    platform.cells.let_run(web(&app));
    assert_eq!(reason(&settled(&admin, &slow).await), "DEPLOYED");
    platform.clock.advance(second);
    cost(&admin, &guid, |cost| cost["after"].is_object()).await;
    platform.data_plane.tell_counts(second, id, requests(5, answered(4))).await;
    let so_far = cost(&admin, &guid, |cost| cost["after"]["served"] == 5).await;
    assert_eq!(so_far["is_final"], false);
    platform.clock.advance(60 * second);
    admin.post(&format!("/v3/apps/{app}/actions/restart"), json!({})).await.expect(200);
    let end = cost(&admin, &guid, |cost| cost["is_final"] == true).await;

    assert_eq!(end["status"], "DEPLOYED");
    assert_eq!((&end["before"]["served"], &end["before"]["p50_ms"]), (&json!(7), &json!(2.016)));
    assert_eq!((&end["during"]["served"], &end["during"]["failed"]), (&json!(3), &json!(2)));
    assert_eq!(end["during"]["p99_ms"], json!(39.936));
    assert_eq!((&end["after"]["served"], &end["after"]["seconds"]), (&json!(5), &json!(61.0)));
    let events = admin.get("/v3/audit_events?types=audit.app.deployment.cost").await;
    let of_it = |event: &&Value| event["data"]["deployment_guid"] == guid.as_str();
    let event = events.expect(200)["resources"].as_array().unwrap().iter().find(of_it).unwrap();
    assert_eq!(event["target"]["guid"], app.as_str());
    assert_eq!(event["data"]["during"]["failed"], 2);
    let why = admin.get(&format!("/cupola/v1/apps/{app}/why")).await;
    assert_eq!(why.expect(200)["last_deployment"]["deployment"], guid.as_str());
}

#[tokio::test]
async fn cost_without_a_data_plane_that_counts_is_unknown_and_not_zero() {
    let (platform, app) = running(1).await;
    let admin = platform.as_admin().await;

    let created = deploy(&admin, &app, json!({})).await;
    settled(&admin, &created).await;
    platform.clock.advance(Duration::from_secs(61));
    admin.post(&format!("/v3/apps/{app}/actions/stop"), json!({})).await.expect(200);
    let cost = cost(&admin, &created.guid(), |cost| cost["is_final"] == true).await;

    assert_eq!((&cost["before"], &cost["during"]), (&Value::Null, &Value::Null));
    assert_eq!(cost["after"], Value::Null);
}
