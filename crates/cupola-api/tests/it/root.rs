//! Where clients find everything.

use cupola_testkit::TestPlatform;

#[tokio::test]
async fn root_needs_no_token_and_links_to_what_there_is() {
    let platform = TestPlatform::start().await;

    let root = platform.anonymous().get("/").await;

    let links = &root.expect(200)["links"];
    assert_eq!(links["cloud_controller_v3"]["href"], "https://api.cupola.test/v3");
    assert_eq!(links["uaa"]["href"], "https://api.cupola.test");
    assert_eq!(links["log_cache"]["href"], "https://api.cupola.test");
    assert!(links["app_ssh"].is_null());
    assert!(root.body.get("cf_on_k8s").is_none());
}

#[tokio::test]
async fn every_linked_resource_is_there() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let links = admin.get("/v3").await.expect(200)["links"].as_object().unwrap().clone();

    for (name, link) in links {
        // Those that have no list of their own.
        if ["self", "environment_variable_groups", "resource_matches"].contains(&name.as_str()) {
            continue;
        }
        admin.get(link["href"].as_str().unwrap()).await.expect(200);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_as_clients_compare_them() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;

    assert_eq!(admin.get("/v2/info").await.detail(404), "Unknown request");
    assert_eq!(admin.delete("/v3/info").await.detail(404), "Unknown request");
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_apart_from_one_with_the_wrong_keys() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let post = http::Method::POST;

    let garbage = admin.send(post.clone(), "/v3/organizations", &[], b"{".to_vec()).await;
    let wrong_key = admin.send(post, "/v3/organizations", &[], b"{\"nam\":\"a\"}".to_vec()).await;

    assert!(garbage.detail(400).contains("parse error"));
    assert!(wrong_key.detail(422).contains("nam"));
}
