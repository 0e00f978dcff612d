//! Pages, filters and order, as every list has them.

use std::time::Duration;

use cupola_testkit::{TestPlatform, http::Client};
use serde_json::json;

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
