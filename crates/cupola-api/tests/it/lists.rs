//! Pages, filters and order, as every list has them.

use std::time::Duration;

use cupola_testkit::{TestPlatform, http::Client};
use serde_json::json;

use crate::push::to;

/// Three more organisations, a second apart.
async fn with_organisations(platform: &TestPlatform) -> Client<'_> {
    let admin = platform.as_admin().await;
    for name in ["b", "c,d", "a"] {
        platform.clock.advance(Duration::from_secs(1));
        admin.post("/v3/organizations", json!({ "name": name })).await.expect(201);
    }
    admin
}

#[tokio::test]
async fn pages_link_to_each_other_absolutely_and_keep_filters() {
    let platform = TestPlatform::start().await;
    let admin = with_organisations(&platform).await;

    let first = admin.get("/v3/organizations?order_by=name&per_page=2&page=1").await;
    assert_eq!(first.names(), ["a", "b"]);
    assert_eq!(first.body["pagination"]["total_results"], 4);
    assert_eq!(first.body["pagination"]["total_pages"], 2);
    assert!(first.body["pagination"]["previous"].is_null());

    let next = first.body["pagination"]["next"]["href"].as_str().unwrap();
    assert!(next.starts_with("https://api.cupola.test/v3/organizations?order_by=name"));
    let second = admin.get(next).await;
    assert_eq!(second.names(), ["c,d", "default"]);
    assert!(second.body["pagination"]["next"].is_null());
    let previous = second.body["pagination"]["previous"]["href"].as_str().unwrap();
    assert_eq!(admin.get(previous).await.names(), first.names());
}

#[tokio::test]
async fn names_with_commas_are_encoded_twice() {
    let platform = TestPlatform::start().await;
    let admin = with_organisations(&platform).await;

    assert_eq!(admin.get("/v3/organizations?names=b,a").await.names(), ["b", "a"]);
    assert_eq!(admin.get("/v3/organizations?names=c%252Cd").await.names(), ["c,d"]);
    assert_eq!(admin.get("/v3/organizations?names=").await.names(), [""; 0]);
}

#[tokio::test]
async fn order_is_by_a_known_column_in_both_directions() {
    let platform = TestPlatform::start().await;
    let admin = with_organisations(&platform).await;

    let newest_first = admin.get("/v3/organizations?order_by=-created_at").await;
    assert_eq!(newest_first.names(), ["a", "c,d", "b", "default"]);
    let refused = admin.get("/v3/organizations?order_by=suspended").await;
    assert!(refused.detail(400).contains("Order by can only be"));
}

#[tokio::test]
async fn times_are_compared_by_the_second() {
    let platform = TestPlatform::start().await;
    let admin = with_organisations(&platform).await;
    let at = admin.get("/v3/organizations?names=b").await.body["resources"][0]["created_at"]
        .as_str()
        .unwrap()
        .to_owned();
    let names = async |filter: &str| {
        let list = admin.get(&format!("/v3/organizations?order_by=name&{filter}={at}")).await;
        list.names().join(" ")
    };

    assert_eq!(names("created_ats").await, "b");
    assert_eq!(names("created_ats[gt]").await, "a c,d");
    assert_eq!(names("created_ats[gte]").await, "a b c,d");
    assert_eq!(names("created_ats[lt]").await, "default");
    assert_eq!(names("updated_ats[lte]").await, "b default");
    admin.get("/v3/organizations?created_ats=yesterday").await.expect(400);
}

#[tokio::test]
async fn parameters_that_mean_nothing_are_refused() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    let unknown = admin.get("/v3/organizations?colour=red").await;
    assert!(unknown.detail(400).contains("Unknown query parameter(s): 'colour'"));
    for query in ["page=0", "page=x", "per_page=0", "per_page=5001"] {
        admin.get(&format!("/v3/organizations?{query}")).await.expect(400);
    }
}

#[tokio::test]
async fn labels_select_what_is_listed() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    for (name, labels) in [
        ("shop", json!({ "env": "prod", "acme.example/tier": "web" })),
        ("test", json!({ "env": "test" })),
        ("old", json!({})),
    ] {
        let relationships = json!({ "space": to(&platform.space.to_string()) });
        let metadata = json!({ "labels": labels });
        let body = json!({ "name": name, "relationships": relationships, "metadata": metadata });
        admin.post("/v3/apps", body).await.expect(201);
    }
    let names = async |selector: &str| {
        let list = admin.get(&format!("/v3/apps?label_selector={selector}")).await;
        list.names().join(" ")
    };

    // As `cf apps --labels` sends them.
    assert_eq!(names("env%3Dprod").await, "shop");
    assert_eq!(names("env%3D%3Dtest").await, "test");
    assert_eq!(names("env%21%3Dprod").await, "test old");
    assert_eq!(names("env+in+%28prod%2Ctest%29").await, "shop test");
    assert_eq!(names("env+notin+%28prod%2Ctest%29").await, "old");
    assert_eq!(names("acme.example%2Ftier").await, "shop");
    assert_eq!(names("%21env").await, "old");
    assert_eq!(names("env%2Cenv%21%3Dtest").await, "shop");
    let page = admin.get("/v3/apps?label_selector=env&per_page=1&page=2").await;
    assert_eq!(page.names(), ["test"]);
    assert_eq!(page.body["pagination"]["total_results"], 2);
    let refused = admin.get("/v3/apps?label_selector=env%3D").await;
    let detail = "The query parameter is invalid: Invalid label_selector value";
    assert_eq!(refused.detail(400), detail);
}

#[tokio::test]
async fn every_list_of_things_with_labels_takes_a_selector() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let (org, space) = (platform.org.to_string(), platform.space.to_string());
    let domain = admin.get("/v3/domains").await.body["resources"][0]["guid"].clone();
    let domain = domain.as_str().unwrap();
    let app = json!({ "name": "shop", "relationships": { "space": to(&space) } });
    let app = admin.post("/v3/apps", app).await.guid();
    let package = json!({ "type": "bits", "relationships": { "app": to(&app) } });
    let package = admin.post("/v3/packages", package).await.guid();
    let route =
        json!({ "host": "shop", "relationships": { "space": to(&space), "domain": to(domain) } });
    let route = admin.post("/v3/routes", route).await.guid();

    for path in [
        format!("/v3/organizations/{org}"),
        format!("/v3/spaces/{space}"),
        format!("/v3/domains/{domain}"),
        format!("/v3/apps/{app}"),
        format!("/v3/packages/{package}"),
        format!("/v3/routes/{route}"),
        format!("/v3/processes/{app}"),
        format!("/v3/users/{}", admin.user_id()),
    ] {
        let labels = json!({ "metadata": { "labels": { "env": "prod" } } });
        admin.patch(&path, labels).await.expect(200);
        let (list, _) = path.rsplit_once('/').unwrap();
        let total = async |selector: &str| {
            let found = admin.get(&format!("{list}?label_selector={selector}")).await;
            found.expect(200)["pagination"]["total_results"].as_u64().unwrap()
        };
        assert_eq!(total("env%3Dprod").await, 1, "{path}");
        assert_eq!(total("env%3Dtest").await, 0, "{path}");
    }
    let nested = [
        format!("/v3/organizations/{org}/domains"),
        format!("/v3/apps/{app}/packages"),
        format!("/v3/apps/{app}/processes"),
    ];
    for list in nested {
        let found = admin.get(&format!("{list}?label_selector=env")).await;
        assert_eq!(found.expect(200)["pagination"]["total_results"], 1, "{list}");
    }
    for list in ["builds", "droplets", "buildpacks", "stacks"] {
        let found = admin.get(&format!("/v3/{list}?label_selector=env")).await;
        assert_eq!(found.expect(200)["pagination"]["total_results"], 0, "{list}");
    }
    assert_eq!(admin.get("/v3/stacks?label_selector=%21env").await.names(), ["host"]);
}
