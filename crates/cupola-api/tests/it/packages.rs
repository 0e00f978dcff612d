//! Packages: uploads, good and bad, copies, and the matching of resources.

use std::time::{Duration, Instant};

use cupola_domain::roles::{RoleKind, RoleScope};
use cupola_testkit::{TestPlatform, http::Client};
use serde_json::json;

use crate::push::{app_named, apply, form, form_type, new_package, platform, to, upload};

async fn package_of_new_app(platform: &TestPlatform) -> String {
    let admin = platform.as_admin().await;
    apply(&admin, &platform.space.to_string(), "applications:\n- name: shop\n").await.expect(200);
    let app = app_named(&admin, "shop").await;
    new_package(&admin, &app).await
}

/// As `package_of_new_app`, without a loop.
async fn package_of_posted_app(platform: &TestPlatform) -> String {
    let admin = platform.as_admin().await;
    let space = to(&platform.space.to_string());
    let body = json!({ "name": "shop", "relationships": { "space": space } });
    let app = admin.post("/v3/apps", body).await.guid();
    new_package(&admin, &app).await
}

/// Waits for what happens on other tasks.
async fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn uploads(platform: &TestPlatform) -> usize {
    std::fs::read_dir(&platform.control.settings().uploads_dir).unwrap().count()
}

#[tokio::test]
async fn upload_is_ready_when_it_is_answered_and_leaves_no_file() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let package = package_of_new_app(&platform).await;

    let uploaded = upload(&admin, &package, form(&[("resources", "[]"), ("bits", "zip")])).await;
    let again = upload(&admin, &package, form(&[("bits", "zip")])).await;

    assert_eq!(uploaded.expect(200)["state"], "READY");
    assert_eq!(uploaded.body["data"]["checksum"]["type"], "sha256");
    assert_eq!(
        again.detail(400),
        "Bits may be uploaded only once. Create a new package to upload different bits."
    );
    assert_eq!(uploads(&platform), 0);
}

#[tokio::test]
async fn upload_that_is_cut_leaves_neither_a_file_nor_a_changed_package() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let package = package_of_new_app(&platform).await;
    let mut body = form(&[("bits", &"x".repeat(100_000))]);
    body.truncate(50_000);

    upload(&admin, &package, body).await.expect(400);

    let shown = admin.get(&format!("/v3/packages/{package}")).await;
    assert_eq!(shown.expect(200)["state"], "AWAITING_UPLOAD");
    assert_eq!(uploads(&platform), 0);
    let second = upload(&admin, &package, form(&[("bits", "zip")])).await;
    assert_eq!(second.expect(200)["state"], "READY");
}

#[tokio::test]
async fn upload_that_the_disk_has_no_room_for_is_refused_and_leaves_no_file() {
    let platform =
        TestPlatform::start_with(|settings| settings.upload_free_bytes_min = u64::MAX).await;
    let admin = platform.as_admin().await;
    let package = package_of_posted_app(&platform).await;

    let refused = upload(&admin, &package, form(&[("bits", "zip")])).await;

    assert!(refused.detail(503).starts_with("The platform's disk is almost full"));
    assert_eq!(uploads(&platform), 0);
}

#[tokio::test]
async fn fifth_upload_at_a_time_is_told_to_come_back() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let package = package_of_posted_app(&platform).await;
    let whole = form(&[("bits", &"x".repeat(1000))]);
    let path = format!("/v3/packages/{package}/upload");
    let kind = form_type();
    // Four that have sent their beginning and go on sending.
    let unfinished: Vec<_> =
        (0..4).map(|_| admin.begin(&path, &[("content-type", &kind)], &whole[..120])).collect();
    wait_until(|| uploads(&platform) == 4).await;

    let fifth = upload(&admin, &package, whole.clone()).await;
    unfinished.iter().for_each(tokio::task::JoinHandle::abort);
    wait_until(|| uploads(&platform) == 0).await;
    let later = upload(&admin, &package, whole).await;

    assert!(fifth.detail(503).starts_with("The platform is receiving 4 uploads"));
    later.expect(200);
}

#[tokio::test]
async fn upload_that_is_too_large_or_no_form_is_refused() {
    let platform = TestPlatform::start_with(|settings| settings.upload_bytes_max = 1 << 20).await;
    let admin = platform.as_admin().await;
    let package = package_of_posted_app(&platform).await;

    let large = upload(&admin, &package, form(&[("bits", &"x".repeat((1 << 20) + 1))])).await;
    let empty = upload(&admin, &package, form(&[("other", "x")])).await;
    let resources = upload(&admin, &package, form(&[("resources", "{"), ("bits", "zip")])).await;
    let path = format!("/v3/packages/{package}/upload");
    let plain = admin.post(&path, json!({ "bits": 1 })).await;

    assert!(large.detail(422).starts_with("The upload is larger than the 1 MiB"));
    assert_eq!(empty.detail(422), "Upload must include either resources or bits");
    assert!(resources.detail(422).starts_with("Resources is not a list of files"));
    plain.expect(422);
    assert_eq!(uploads(&platform), 0);
}

#[tokio::test]
async fn files_that_are_known_need_not_be_sent() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let package = package_of_new_app(&platform).await;
    let (known, unknown) = ("a".repeat(40), "b".repeat(40));
    platform.stager.know("first", &known, 70_000);
    upload(&admin, &package, form(&[("bits", "first")])).await.expect(200);
    let package = new_package(&admin, &app_named(&admin, "shop").await).await;
    let file = |sha1: &str, path: &str| json!({ "checksum": { "value": sha1 }, "size_in_bytes": 70_000, "path": path, "mode": "644" });

    let body = json!({ "resources": [file(&known, "a"), file(&unknown, "b")] });
    let matched = admin.post("/v3/resource_matches", body).await;
    let list = matched.expect(201)["resources"].to_string();
    let uploaded = upload(&admin, &package, form(&[("resources", &list)])).await;

    assert_eq!(matched.body["resources"], json!([file(&known, "a")]));
    assert_eq!(uploaded.expect(200)["state"], "READY");
    let bad = json!({ "resources": [file("xyz", "a")] });
    admin.post("/v3/resource_matches", bad).await.expect(422);
}

#[tokio::test]
async fn nothing_is_matched_while_the_flag_is_off() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let sha1 = "a".repeat(40);
    let package = package_of_posted_app(&platform).await;
    platform.stager.know("zip", &sha1, 70_000);
    upload(&admin, &package, form(&[("bits", "zip")])).await.expect(200);
    admin
        .patch("/v3/feature_flags/resource_matching", json!({ "enabled": false }))
        .await
        .expect(200);

    let file = json!({ "checksum": { "value": sha1 }, "size_in_bytes": 70_000 });
    let matched = admin.post("/v3/resource_matches", json!({ "resources": [file] })).await;

    assert_eq!(matched.expect(201)["resources"], json!([]));
}

/// A developer of a space where nobody else is.
async fn stranger<'a>(platform: &'a TestPlatform, name: &str) -> (Client<'a>, String) {
    let admin = platform.as_admin().await;
    let body =
        json!({ "name": name, "relationships": { "organization": to(&platform.org.to_string()) } });
    let space = admin.post("/v3/spaces", body).await.guid();
    let org = RoleScope::Org(platform.org);
    let roles = [
        (RoleKind::OrganizationUser, org),
        (RoleKind::SpaceDeveloper, RoleScope::Space(space.parse().unwrap())),
    ];
    (platform.as_user_with(name, &roles).await, space)
}

#[tokio::test]
async fn file_of_others_is_neither_told_nor_given_however_small_it_is() {
    let platform = TestPlatform::start().await;
    let (ada, space) = stranger(&platform, "ada").await;
    let body = json!({ "name": "secret", "relationships": { "space": to(&space) } });
    let secret = new_package(&ada, &ada.post("/v3/apps", body).await.guid()).await;
    let sha1 = "a".repeat(40);
    platform.stager.know("secret", &sha1, 4);
    upload(&ada, &secret, form(&[("bits", "secret")])).await.expect(200);
    let (eve, space) = stranger(&platform, "eve").await;
    let body = json!({ "name": "guess", "relationships": { "space": to(&space) } });
    let guess = new_package(&eve, &eve.post("/v3/apps", body).await.guid()).await;
    let auditor = platform.as_user("aud", &[RoleKind::SpaceAuditor]).await;
    let file =
        json!([{ "checksum": { "value": sha1 }, "size_in_bytes": 4, "path": "a", "mode": "644" }]);
    let asked = json!({ "resources": file });

    let own = ada.post("/v3/resource_matches", asked.clone()).await;
    let others = eve.post("/v3/resource_matches", asked.clone()).await;
    let read_only = auditor.post("/v3/resource_matches", asked).await;
    let taken = upload(&eve, &guess, form(&[("resources", &file.to_string())])).await;

    assert_eq!(own.expect(201)["resources"], file);
    assert_eq!(others.expect(201)["resources"], json!([]));
    assert_eq!(read_only.expect(201)["resources"], json!([]));
    assert_eq!(taken.expect(200)["state"], "FAILED");
}

#[tokio::test]
async fn files_are_forgotten_with_their_app() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let package = package_of_new_app(&platform).await;
    let sha1 = "a".repeat(40);
    platform.stager.know("zip", &sha1, 4);
    upload(&admin, &package, form(&[("bits", "zip")])).await.expect(200);
    let asked = json!({ "resources": [{ "checksum": { "value": sha1 }, "size_in_bytes": 4 }] });

    let before = admin.post("/v3/resource_matches", asked.clone()).await;
    let app = app_named(&admin, "shop").await;
    let deleted = admin.delete(&format!("/v3/apps/{app}")).await;
    assert_eq!(admin.get(&deleted.location()).await.expect(200)["state"], "COMPLETE");
    let after = admin.post("/v3/resource_matches", asked).await;

    assert_eq!(before.expect(201)["resources"].as_array().unwrap().len(), 1);
    assert_eq!(after.expect(201)["resources"], json!([]));
}

#[tokio::test]
async fn copy_has_the_content_of_its_source() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let package = package_of_new_app(&platform).await;
    let uploaded = upload(&admin, &package, form(&[("bits", "zip")])).await;
    let space = to(&platform.space.to_string());
    let body = json!({ "name": "copy", "relationships": { "space": space } });
    let other = admin.post("/v3/apps", body).await.guid();

    let path = format!("/v3/packages?source_guid={package}");
    let copy = admin.post(&path, json!({ "relationships": { "app": to(&other) } })).await;

    assert_eq!(copy.expect(201)["state"], "READY");
    assert_eq!(copy.body["data"]["checksum"], uploaded.body["data"]["checksum"]);
    assert_eq!(copy.body["relationships"]["app"], to(&other));
}

#[tokio::test]
async fn package_that_is_not_ready_cannot_be_staged() {
    let platform = platform().await;
    let admin = platform.as_admin().await;
    let package = package_of_new_app(&platform).await;

    let early = admin.post("/v3/builds", json!({ "package": { "guid": package } })).await;
    let unknown = admin.post("/v3/builds", json!({ "package": { "guid": "none" } })).await;

    // The CLI compares this one as a whole.
    assert_eq!(early.detail(400), "Bad request: Cannot stage package whose state is not ready.");
    assert_eq!(
        unknown.detail(422),
        "Unable to use package. Ensure that the package exists and you have access to it."
    );
}

#[tokio::test]
async fn interrupted_upload_fails_at_the_next_start() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let space = to(&platform.space.to_string());
    let body = json!({ "name": "shop", "relationships": { "space": space } });
    let app = admin.post("/v3/apps", body).await.guid();
    let package = new_package(&admin, &app).await;
    interrupt(&platform, &package).await;
    let left = platform.control.settings().uploads_dir.join("left.zip");
    std::fs::write(left, "zip").unwrap();

    assert_eq!(platform.control.fail_interrupted_uploads().await.unwrap(), 1);

    let shown = admin.get(&format!("/v3/packages/{package}")).await;
    assert_eq!(shown.expect(200)["state"], "FAILED");
    assert_eq!(uploads(&platform), 0);
}

/// Leaves the package as a control process does that is killed while it unpacks.
async fn interrupt(platform: &TestPlatform, package: &str) {
    use cupola_domain::packages::{Package, PackageState};
    use cupola_ports::store::{self, Store};

    let mut tx = platform.store.write(None).await.unwrap();
    let mut row = store::get::<Package>(&mut *tx, package).await.unwrap().unwrap();
    row.state = PackageState::ProcessingUpload;
    store::update(&mut *tx, &row).await.unwrap();
    tx.commit().await.unwrap();
}
