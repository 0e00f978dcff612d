//! Options, weights, sharing and moving of routes; domains that organisations share.

use cupola_domain::roles::{RoleKind, RoleScope};
use cupola_testkit::{TestPlatform, http::Client};
use serde_json::{Value, json};

use crate::push::{apply, to};

struct Team<'a> {
    admin: Client<'a>,
    domain: String,
    space: String,
    route: String,
}

impl<'a> Team<'a> {
    async fn new(platform: &'a TestPlatform) -> Self {
        let admin = platform.as_admin().await;
        let list = admin.get("/v3/domains").await;
        let domain = list.expect(200)["resources"][0]["guid"].as_str().unwrap().to_owned();
        let space = platform.space.to_string();
        let route = new_route(&admin, &domain, &space, "shop").await;
        Self { admin, domain, space, route }
    }

    async fn enable(&self, flag: &str) {
        let flag = format!("/v3/feature_flags/{flag}");
        self.admin.patch(&flag, json!({ "enabled": true })).await.expect(200);
    }

    fn at(&self, rest: &str) -> String {
        format!("/v3/routes/{}{rest}", self.route)
    }

    /// The kinds of the events about the route.
    async fn events(&self) -> Vec<String> {
        let list = self.admin.get(&format!("/v3/audit_events?target_guids={}", self.route)).await;
        let all = list.expect(200)["resources"].as_array().unwrap();
        all.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }
}

async fn new_route(client: &Client<'_>, domain: &str, space: &str, host: &str) -> String {
    let relationships = json!({ "domain": to(domain), "space": to(space) });
    let body = json!({ "host": host, "relationships": relationships });
    client.post("/v3/routes", body).await.guid()
}

async fn new_org(client: &Client<'_>, name: &str) -> String {
    client.post("/v3/organizations", json!({ "name": name })).await.guid()
}

async fn new_space(client: &Client<'_>, org: &str, name: &str) -> String {
    let body = json!({ "name": name, "relationships": { "organization": to(org) } });
    client.post("/v3/spaces", body).await.guid()
}

async fn new_app(client: &Client<'_>, space: &str, name: &str) -> String {
    let body = json!({ "name": name, "relationships": { "space": to(space) } });
    client.post("/v3/apps", body).await.guid()
}

fn all_of(guids: &[&str]) -> Value {
    json!({ "data": guids.iter().map(|guid| json!({ "guid": guid })).collect::<Vec<_>>() })
}

fn to_app(app: &str) -> Value {
    json!({ "destinations": [{ "app": { "guid": app } }] })
}

#[tokio::test]
async fn hashing_is_an_option_where_its_flag_is_set_and_its_settings_go_with_it() {
    let platform = TestPlatform::start().await;
    let team = Team::new(&platform).await;
    let set =
        async |options: Value| team.admin.patch(&team.at(""), json!({ "options": options })).await;
    let hash = json!({
        "loadbalancing": "hash", "hash_header": "X-User", "hash_balance": 1.25,
    });

    let before = set(hash.clone()).await;
    team.enable("hash_based_routing").await;
    let after = set(hash).await;
    let without_header = set(json!({ "hash_header": null })).await;
    let unbalanced = set(json!({ "hash_balance": "1.05" })).await;
    let back = set(json!({ "loadbalancing": "least-connection" })).await;
    let stray = set(json!({ "hash_header": "X-User" })).await;

    assert_eq!(
        before.detail(422),
        "Options contains invalid route option 'hash_balance'. Valid keys: 'loadbalancing'"
    );
    let kept = json!({ "loadbalancing": "hash", "hash_header": "X-User", "hash_balance": "1.25" });
    assert_eq!(after.expect(200)["options"], kept);
    assert_eq!(
        without_header.detail(422),
        "Options Hash header must be present when loadbalancing is set to hash"
    );
    assert_eq!(
        unbalanced.detail(422),
        "Options Hash balance must be either 0 or between 1.1 and 10.0"
    );
    assert_eq!(back.expect(200)["options"], json!({ "loadbalancing": "least-connection" }));
    assert_eq!(stray.detail(422), "Options Hash header can only be set when loadbalancing is hash");
}

#[tokio::test]
async fn destination_keeps_its_weight_and_a_new_one_replaces_it() {
    let platform = TestPlatform::start().await;
    let team = Team::new(&platform).await;
    let app = new_app(&team.admin, &team.space, "green").await;
    let weighted =
        |weight: u8| json!({ "destinations": [{ "app": { "guid": app }, "weight": weight }] });

    let first = team.admin.post(&team.at("/destinations"), weighted(10)).await;
    let again = team.admin.post(&team.at("/destinations"), weighted(50)).await;
    let unnamed = team.admin.post(&team.at("/destinations"), to_app(&app)).await;
    let nothing = team.admin.post(&team.at("/destinations"), weighted(0)).await;

    let weight = |answer: &Value| answer["destinations"][0]["weight"].clone();
    assert_eq!(weight(first.expect(200)), 10);
    assert_eq!(weight(again.expect(200)), 50);
    assert_eq!(weight(unnamed.expect(200)), 50);
    assert_eq!(
        first.expect(200)["destinations"][0]["guid"],
        again.expect(200)["destinations"][0]["guid"]
    );
    assert_eq!(
        nothing.detail(422),
        "Destination weight must be a number from 1 to 100: a percentage."
    );
}

#[tokio::test]
async fn shared_route_leads_to_apps_of_the_other_space_until_it_is_unshared() {
    let platform = TestPlatform::start().await;
    let team = Team::new(&platform).await;
    let other = new_space(&team.admin, &platform.org.to_string(), "other").await;
    let app = new_app(&team.admin, &other, "green").await;
    let shared = team.at("/relationships/shared_spaces");

    let off = team.admin.post(&shared, all_of(&[&other])).await;
    team.enable("route_sharing").await;
    let too_early = team.admin.post(&team.at("/destinations"), to_app(&app)).await;
    let sharing = team.admin.post(&shared, all_of(&[&other])).await;
    let mapped = team.admin.post(&team.at("/destinations"), to_app(&app)).await;
    team.admin.delete(&format!("{shared}/{other}")).await.expect(204);
    let left = team.admin.get(&team.at("/destinations")).await;
    let unshared = team.admin.get(&shared).await;

    assert_eq!(off.detail(403), "Feature Disabled: route_sharing");
    assert_eq!(
        too_early.detail(422),
        "Routes destinations must be in either the route's space or the route's shared spaces"
    );
    assert_eq!(sharing.expect(200)["data"], json!([{ "guid": other }]));
    assert_eq!(mapped.expect(200)["destinations"][0]["app"]["guid"], *app);
    assert_eq!(left.expect(200)["destinations"], json!([]));
    assert_eq!(unshared.expect(200)["data"], json!([]));
    let events = team.events().await;
    assert!(events.contains(&"audit.route.share".to_owned()), "{events:?}");
    assert!(events.contains(&"audit.route.unshare".to_owned()), "{events:?}");
}

#[tokio::test]
async fn options_are_set_by_manifests_of_the_owning_space_alone_and_recorded_once() {
    let mut platform = TestPlatform::start().await;
    platform.start_loops().await;
    let team = Team::new(&platform).await;
    team.enable("route_sharing").await;
    let other = new_space(&team.admin, &platform.org.to_string(), "other").await;
    let shared = team.at("/relationships/shared_spaces");
    team.admin.post(&shared, all_of(&[&other])).await.expect(200);
    let manifest = |algorithm: &str| {
        let options = format!("    options:\n      loadbalancing: {algorithm}\n");
        format!(
            "applications:\n- name: blue\n  routes:\n  - route: shop.apps.cupola.test\n{options}"
        )
    };

    let own = apply(&team.admin, &team.space, &manifest("least-connection")).await;
    let again = apply(&team.admin, &team.space, &manifest("least-connection")).await;
    let theirs = apply(&team.admin, &other, &manifest("round-robin")).await;
    let alike = apply(&team.admin, &other, &manifest("least-connection")).await;

    assert_eq!(own.expect(200)["state"], "COMPLETE", "{}", own.text());
    assert_eq!(again.expect(200)["state"], "COMPLETE", "{}", again.text());
    assert!(theirs.text().contains("another space, which alone sets its options"), "{theirs:?}");
    assert_eq!(alike.expect(200)["state"], "COMPLETE", "{}", alike.text());
    let route = team.admin.get(&team.at("")).await;
    assert_eq!(route.expect(200)["options"], json!({ "loadbalancing": "least-connection" }));
    let events = team.events().await;
    let updates = events.iter().filter(|kind| *kind == "audit.route.update").count();
    assert_eq!(updates, 1, "{events:?}");
}

#[tokio::test]
async fn route_is_shared_and_moved_only_to_spaces_that_the_caller_may_change() {
    let platform = TestPlatform::start().await;
    let team = Team::new(&platform).await;
    team.enable("route_sharing").await;
    let other = new_space(&team.admin, &platform.org.to_string(), "other").await;
    let developer = platform.as_user("ada", &[RoleKind::SpaceDeveloper]).await;
    let shared = team.at("/relationships/shared_spaces");
    let (own, url) = (team.space.as_str(), "shop.apps.cupola.test");

    let unseen = developer.post(&shared, all_of(&[&other])).await;
    let into_itself = developer.post(&shared, all_of(&[own])).await;
    let away = developer.patch(&team.at("/relationships/space"), to(&other)).await;

    assert_eq!(
        unseen.detail(422),
        format!(
            "Unable to share route {url} with spaces ['{other}']. \
             Ensure the spaces exist and that you have access to them."
        )
    );
    assert_eq!(
        into_itself.detail(422),
        format!(
            "Unable to share route '{url}' with space '{own}'. \
             Routes cannot be shared into the space where they were created."
        )
    );
    assert_eq!(
        away.detail(422),
        format!(
            "Unable to transfer owner of route '{url}' to space '{other}'. \
             Ensure the space exists and that you have access to it."
        )
    );
}

#[tokio::test]
async fn moved_route_keeps_its_destinations_and_stays_shared_with_the_old_space() {
    let platform = TestPlatform::start().await;
    let team = Team::new(&platform).await;
    team.enable("route_sharing").await;
    let app = new_app(&team.admin, &team.space, "blue").await;
    team.admin.post(&team.at("/destinations"), to_app(&app)).await.expect(200);
    let other = new_space(&team.admin, &platform.org.to_string(), "other").await;

    team.admin.patch(&team.at("/relationships/space"), to(&other)).await.expect(204);
    let route = team.admin.get(&team.at("")).await;
    let shared = team.admin.get(&team.at("/relationships/shared_spaces")).await;
    let own = team.admin.delete(&team.at(&format!("/relationships/shared_spaces/{other}"))).await;

    let route = route.expect(200);
    assert_eq!(route["relationships"]["space"]["data"]["guid"], *other);
    assert_eq!(route["destinations"][0]["app"]["guid"], *app);
    assert_eq!(shared.expect(200)["data"], json!([{ "guid": team.space }]));
    assert!(own.detail(422).ends_with("Routes cannot be removed from the space that owns them."));
    let events = team.events().await;
    assert!(events.contains(&"audit.route.transfer-owner".to_owned()), "{events:?}");
}

#[tokio::test]
async fn private_domain_is_used_by_those_whom_it_is_shared_with() {
    let platform = TestPlatform::start().await;
    let team = Team::new(&platform).await;
    let owner = platform.org.to_string();
    let guest = new_org(&team.admin, "guest").await;
    let space = new_space(&team.admin, &guest, "dev").await;
    let body = json!({
        "name": "team.example", "relationships": { "organization": to(&owner) },
    });
    let domain = team.admin.post("/v3/domains", body).await.guid();
    let shared = format!("/v3/domains/{domain}/relationships/shared_organizations");
    let in_org = (RoleKind::OrganizationUser, RoleScope::Org(guest.parse().unwrap()));
    let in_space = (RoleKind::SpaceDeveloper, RoleScope::Space(space.parse().unwrap()));
    let ada = platform.as_user_with("ada", &[in_org, in_space]).await;

    let hidden = ada.get(&format!("/v3/domains/{domain}")).await;
    let with_itself = team.admin.post(&shared, all_of(&[&owner])).await;
    let sharing = team.admin.post(&shared, all_of(&[&guest])).await;
    let listed = ada.get("/v3/domains?names=team.example").await;
    let usable = ada.get(&format!("/v3/organizations/{guest}/domains")).await;
    let route = new_route(&ada, &domain, &space, "").await;
    let in_use = team.admin.delete(&format!("{shared}/{guest}")).await;
    let kept = team.admin.delete(&format!("/v3/domains/{domain}")).await;
    let not_hers = ada.delete(&format!("{shared}/{guest}")).await;
    team.admin.finish(&team.admin.delete(&format!("/v3/routes/{route}")).await).await;
    team.admin.delete(&format!("{shared}/{guest}")).await.expect(204);
    let again = team.admin.delete(&format!("{shared}/{guest}")).await;

    hidden.expect(404);
    assert_eq!(with_itself.detail(422), "Domain cannot be shared with owning organization.");
    assert_eq!(sharing.expect(200)["data"], json!([{ "guid": guest }]));
    let seen = &listed.expect(200)["resources"][0]["relationships"];
    assert_eq!(seen["shared_organizations"]["data"], json!([{ "guid": guest }]));
    assert_eq!(usable.expect(200)["resources"].as_array().unwrap().len(), 2);
    assert_eq!(
        in_use.detail(422),
        "This domain has associated routes in this organization. \
         Delete the routes before unsharing."
    );
    assert_eq!(
        kept.detail(422),
        "This domain is shared with other organizations. Unshare before deleting."
    );
    not_hers.expect(403);
    assert!(again.detail(422).starts_with("Unable to unshare domain"));
    ada.get(&format!("/v3/domains/{domain}")).await.expect(404);
}

#[tokio::test]
async fn reserved_and_overlapping_domains_are_refused() {
    let platform = TestPlatform::start().await;
    let team = Team::new(&platform).await;
    let owner = platform.org.to_string();
    let guest = new_org(&team.admin, "guest").await;
    let private = async |name: &str, org: &str| {
        let body = json!({ "name": name, "relationships": { "organization": to(org) } });
        team.admin.post("/v3/domains", body).await
    };

    private("team.example", &owner).await.expect(201);
    let below = private("a.team.example", &guest).await;
    let own_below = private("a.team.example", &owner).await;
    let address_of_a_route = private("shop.apps.cupola.test", &owner).await;

    assert_eq!(below.detail(422), "The domain name \"a.team.example\" is already in use");
    own_below.expect(201);
    assert!(address_of_a_route.detail(422).contains("is the address of a route"));
    assert!(!team.domain.is_empty());
}
