//! Domains, routes and destinations.

use cupola_domain::roles::{RoleKind, RoleScope};
use cupola_testkit::{
    TestPlatform,
    http::{Answer, Client},
};
use serde_json::{Value, json};

use crate::push::to;

async fn shared_domain(client: &Client<'_>) -> String {
    let list = client.get("/v3/domains").await;
    list.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned()
}

fn new_route(domain: &str, space: &str, host: &str, path: &str) -> Value {
    let relationships = json!({ "domain": to(domain), "space": to(space) });
    json!({ "host": host, "path": path, "relationships": relationships })
}

async fn new_app(client: &Client<'_>, space: &str, name: &str) -> String {
    let body = json!({ "name": name, "relationships": { "space": to(space) } });
    client.post("/v3/apps", body).await.guid()
}

async fn new_space(client: &Client<'_>, platform: &TestPlatform, name: &str) -> String {
    let organization = to(&platform.org.to_string());
    let body = json!({ "name": name, "relationships": { "organization": organization } });
    client.post("/v3/spaces", body).await.guid()
}

fn urls(list: &Answer) -> Vec<&str> {
    let all = list.expect(200)["resources"].as_array().unwrap();
    all.iter().map(|route| route["url"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn bad_routes_are_refused_in_the_words_that_clients_compare() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let other = new_space(&admin, &platform, "other").await;
    admin.post("/v3/routes", new_route(&domain, &space, "shop", "")).await.expect(201);
    admin.post("/v3/routes", new_route(&domain, &space, "shop", "/api")).await.expect(201);

    let cases = [
        (
            &space,
            "shop",
            "",
            "Route already exists with host 'shop' for domain 'apps.cupola.test'.",
        ),
        (
            &space,
            "SHOP",
            "/api",
            "Route already exists with host 'shop' and path '/api' for domain 'apps.cupola.test'.",
        ),
        // A host of a shared domain belongs to the space that took it first.
        (
            &other,
            "shop",
            "/other",
            "Routes for the host 'shop' and the domain 'apps.cupola.test' have been reserved for \
             another space. Choose another host.",
        ),
        (&space, "", "", "Missing host. Routes in shared domains must have a host defined."),
        (
            &space,
            "a.b",
            "",
            "Host must be either \"*\" or contain only alphanumeric characters, \"_\", or \"-\"",
        ),
        (&space, "a", "x", "Path is missing the beginning '/'."),
        (&space, "a", "/", "Path cannot be a single '/'."),
        (&space, "a", "/x?y", "Path cannot contain '?'."),
    ];
    for (space, host, path, detail) in cases {
        let refused = admin.post("/v3/routes", new_route(&domain, space, host, path)).await;
        assert_eq!(refused.detail(422), detail);
    }
    let developer = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    developer.post("/v3/routes", new_route(&domain, &space, "*", "")).await.expect(403);
    let nowhere = admin.post("/v3/routes", new_route("none", &space, "a", "")).await;
    assert_eq!(
        nowhere.detail(422),
        "Invalid domain. Ensure that the domain exists and you have access to it."
    );
}

#[tokio::test]
async fn routes_are_found_by_host_path_domain_and_app() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let route = admin.post("/v3/routes", new_route(&domain, &space, "a", "/x")).await.guid();
    admin.post("/v3/routes", new_route(&domain, &space, "b", "")).await.expect(201);
    let app = new_app(&admin, &space, "shop").await;
    let body = json!({ "destinations": [{ "app": { "guid": app } }] });
    admin.post(&format!("/v3/routes/{route}/destinations"), body).await.expect(200);

    let found = async |query: &str| {
        let list = admin.get(&format!("/v3/routes?{query}")).await;
        urls(&list).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(found("hosts=A&paths=/x").await, ["a.apps.cupola.test/x"]);
    assert_eq!(found(&format!("domain_guids={domain}&hosts=b")).await, ["b.apps.cupola.test"]);
    assert_eq!(found(&format!("app_guids={app}")).await, ["a.apps.cupola.test/x"]);
    assert_eq!(found(&format!("space_guids={space}&ports=0")).await.len(), 2);
    assert_eq!(found("ports=1234").await, [""; 0]);
    let reserved = format!("/v3/domains/{domain}/route_reservations");
    let taken = admin.get(&format!("{reserved}?host=a&path=/x")).await;
    assert_eq!(taken.expect(200)["matching_route"], true);
    let free = admin.get(&format!("{reserved}?host=a")).await;
    assert_eq!(free.expect(200)["matching_route"], false);
}

#[tokio::test]
async fn destinations_are_added_once_replaced_and_removed() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let route = admin.post("/v3/routes", new_route(&domain, &space, "a", "")).await.guid();
    let path = format!("/v3/routes/{route}/destinations");
    let (one, two) = (new_app(&admin, &space, "one").await, new_app(&admin, &space, "two").await);
    let to_app = |app: &str| json!({ "destinations": [{ "app": { "guid": app } }] });

    admin.post(&path, to_app(&one)).await.expect(200);
    let twice = admin.post(&path, to_app(&one)).await;
    let both = admin.post(&path, to_app(&two)).await;
    let replaced = admin.patch(&path, to_app(&two)).await;

    let count = |answer: &Answer| answer.expect(200)["destinations"].as_array().unwrap().len();
    assert_eq!((count(&twice), count(&both), count(&replaced)), (1, 2, 1));
    let destination = &replaced.body["destinations"][0];
    assert_eq!(destination["app"], json!({ "guid": two, "process": { "type": "web" } }));
    assert_eq!(destination["port"], 8080);
    let guid = destination["guid"].as_str().unwrap();
    admin.delete(&format!("{path}/{guid}")).await.expect(204);
    admin.delete(&format!("{path}/{guid}")).await.expect(422);
    assert_eq!(count(&admin.get(&path).await), 0);
}

#[tokio::test]
async fn route_leads_to_apps_of_its_own_space_only() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let route = admin.post("/v3/routes", new_route(&domain, &space, "a", "")).await.guid();
    let other = new_space(&admin, &platform, "other").await;
    let app = new_app(&admin, &other, "shop").await;

    let path = format!("/v3/routes/{route}/destinations");
    let body = json!({ "destinations": [{ "app": { "guid": app } }] });
    let mapped = admin.post(&path, body.clone()).await;
    let developer = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let unseen = developer.post(&path, body).await;

    let detail =
        "Routes destinations must be in either the route's space or the route's shared spaces";
    assert_eq!(mapped.detail(422), detail);
    let detail = format!("App(s) with guid(s) \"{app}\" do not exist or you do not have access.");
    assert_eq!(unseen.detail(422), detail);
}

#[tokio::test]
async fn unmapped_routes_go_and_mapped_ones_stay() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let kept = admin.post("/v3/routes", new_route(&domain, &space, "kept", "")).await.guid();
    admin.post("/v3/routes", new_route(&domain, &space, "gone", "")).await.expect(201);
    let app = new_app(&admin, &space, "shop").await;
    let body = json!({ "destinations": [{ "app": { "guid": app } }] });
    admin.post(&format!("/v3/routes/{kept}/destinations"), body).await.expect(200);

    admin.delete(&format!("/v3/spaces/{space}/routes")).await.expect(422);
    let deleted = admin.delete(&format!("/v3/spaces/{space}/routes?unmapped=true")).await;
    let job = admin.finish(&deleted).await;

    assert_eq!(job.expect(200)["state"], "COMPLETE");
    assert_eq!(urls(&admin.get("/v3/routes").await), ["kept.apps.cupola.test"]);
}

#[tokio::test]
async fn options_are_set_removed_and_checked() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let route = admin.post("/v3/routes", new_route(&domain, &space, "a", "")).await.guid();
    let path = format!("/v3/routes/{route}");

    let options = json!({ "options": { "loadbalancing": "least-connection" } });
    let set = admin.patch(&path, options.clone()).await;
    let removed = admin.patch(&path, json!({ "options": { "loadbalancing": null } })).await;

    assert_eq!(set.expect(200)["options"], options["options"]);
    assert_eq!(removed.expect(200)["options"], json!({}));
    admin.patch(&path, json!({ "options": { "loadbalancing": "magic" } })).await.expect(422);
    admin.patch(&path, json!({ "options": { "other": "x" } })).await.expect(422);
}

#[tokio::test]
async fn private_domain_is_its_organisations_own() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let manager = platform.as_user("mia", &[RoleKind::OrganizationManager]).await;
    let stranger = platform.as_user("eve", &[]).await;
    let organization = to(&platform.org.to_string());
    let body = json!({ "name": "acme.example", "relationships": { "organization": organization } });

    let created = manager.post("/v3/domains", body.clone()).await;

    created.expect(201);
    let path = format!("/v3/domains/{}", created.guid());
    assert_eq!(stranger.get(&path).await.detail(404), "Domain not found");
    assert_eq!(stranger.get("/v3/domains").await.names(), ["apps.cupola.test"]);
    let of_org = format!("/v3/organizations/{}/domains", platform.org);
    assert_eq!(manager.get(&of_org).await.names(), ["apps.cupola.test", "acme.example"]);
    let default = manager.get(&format!("{of_org}/default")).await;
    assert_eq!(default.expect(200)["name"], "apps.cupola.test");
    let again = admin.post("/v3/domains", body).await;
    assert_eq!(again.detail(422), "The domain name \"acme.example\" is already in use");
    manager.post("/v3/domains", json!({ "name": "all.example" })).await.expect(403);
}

#[tokio::test]
async fn nobody_takes_a_domain_under_that_of_another_organisation() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let org = admin.post("/v3/organizations", json!({ "name": "rival" })).await.guid();
    let scope = RoleScope::Org(org.parse().unwrap());
    let rival = platform.as_user_with("eve", &[(RoleKind::OrganizationManager, scope)]).await;
    let of = |name: &str, org: &str| json!({ "name": name, "relationships": { "organization": to(org) } });
    let own = platform.org.to_string();
    admin.post("/v3/domains", of("acme.example", &own)).await.expect(201);

    let nested = rival.post("/v3/domains", of("shop.acme.example", &org)).await;

    assert_eq!(nested.detail(422), "The domain name \"shop.acme.example\" is already in use");
    admin.post("/v3/domains", of("shop.acme.example", &own)).await.expect(201);
    for name in ["localhost", "-x.example", "a..b", "api.cupola.test"] {
        admin.post("/v3/domains", json!({ "name": name })).await.expect(422);
    }
}

#[tokio::test]
async fn nobody_takes_a_domain_above_that_of_somebody_else() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let org = admin.post("/v3/organizations", json!({ "name": "rival" })).await.guid();
    let scope = RoleScope::Org(org.parse().unwrap());
    let rival = platform.as_user_with("eve", &[(RoleKind::OrganizationManager, scope)]).await;
    let of = |name: &str, org: &str| json!({ "name": name, "relationships": { "organization": to(org) } });
    let own = platform.org.to_string();
    admin.post("/v3/domains", of("shop.acme.example", &own)).await.expect(201);

    // Below it is the domain that every app has its route under.
    let shared = rival.post("/v3/domains", of("cupola.test", &org)).await;
    let private = rival.post("/v3/domains", of("acme.example", &org)).await;

    assert_eq!(shared.detail(422), "The domain name \"cupola.test\" is already in use");
    assert_eq!(private.detail(422), "The domain name \"acme.example\" is already in use");
    rival.post("/v3/domains", of("me.example", &org)).await.expect(201);
    admin.post("/v3/domains", of("acme.example", &own)).await.expect(201);
}

#[tokio::test]
async fn deleted_domain_takes_its_routes_along() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let domain = admin.post("/v3/domains", json!({ "name": "acme.example" })).await.guid();
    let space = platform.space.to_string();
    admin.post("/v3/routes", new_route(&domain, &space, "shop", "")).await.expect(201);

    let deleted = admin.delete(&format!("/v3/domains/{domain}")).await;
    let job = admin.finish(&deleted).await;

    assert_eq!(job.expect(200)["operation"], "domain.delete");
    assert_eq!(urls(&admin.get("/v3/routes").await), [""; 0]);
    assert_eq!(admin.get("/v3/domains").await.names(), ["apps.cupola.test"]);
}

#[tokio::test]
async fn route_leads_to_a_hundred_processes_with_names_of_ordinary_length() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let app = new_app(&admin, &space, "shop").await;
    let route = admin.post("/v3/routes", new_route(&domain, &space, "shop", "")).await.guid();
    let path = format!("/v3/routes/{route}/destinations");
    let to_type = |kind: String| json!({ "app": { "guid": app, "process": { "type": kind } } });
    let to_types = |numbers: std::ops::Range<u32>| -> Value {
        let all = numbers.map(|number| to_type(format!("worker-{number}")));
        json!({ "destinations": all.collect::<Vec<_>>() })
    };

    let too_many = admin.post(&path, to_types(0..101)).await;
    let most = admin.post(&path, to_types(0..100)).await;
    let again = admin.post(&path, to_types(0..100)).await;
    let one_more = admin.post(&path, to_types(100..101)).await;
    let others = admin.patch(&path, to_types(50..150)).await;
    let long = json!({ "destinations": [to_type("w".repeat(256))] });
    let long = admin.patch(&path, long).await;

    let limit = "Routes can be mapped to at most 100 destinations.";
    assert_eq!(too_many.detail(422), limit);
    assert_eq!(one_more.detail(422), limit);
    for all in [&most, &again, &others] {
        assert_eq!(all.expect(200)["destinations"].as_array().unwrap().len(), 100);
    }
    assert!(long.detail(422).starts_with("Process type of a destination is too long"));
}

#[tokio::test]
async fn change_of_a_destination_that_is_none_does_not_speak_of_unmapping() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (domain, space) = (shared_domain(&admin).await, platform.space.to_string());
    let route = admin.post("/v3/routes", new_route(&domain, &space, "shop", "")).await.guid();

    let path = format!("/v3/routes/{route}/destinations/no-guid");
    let refused = admin.patch(&path, json!({ "protocol": "http1" })).await;

    let detail = "Unable to update destination. Ensure the route has a destination with this guid.";
    assert_eq!(refused.detail(422), detail);
}
