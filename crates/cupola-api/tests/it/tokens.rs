//! Logging in, and what a token is good for.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use cupola_testkit::{TestPlatform, http::Answer, platform::ADMIN_PASSWORD};
use http::Method;
use serde_json::Value;

/// As the `cf` CLI sends it.
async fn grant(platform: &TestPlatform, form: &str) -> Answer {
    let client = format!("Basic {}", STANDARD.encode("cf:"));
    let headers =
        [("authorization", client.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let body = form.as_bytes().to_vec();
    platform.anonymous().send(Method::POST, "/oauth/token", &headers, body).await
}

async fn log_in(platform: &TestPlatform, username: &str, password: &str) -> Answer {
    let password = password.replace(' ', "+");
    grant(platform, &format!("grant_type=password&username={username}&password={password}")).await
}

fn text(answer: &Answer, key: &str) -> String {
    answer.body[key].as_str().unwrap_or_default().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn right_password_yields_a_token_that_opens_the_api() {
    let platform = TestPlatform::start().await;

    let granted = log_in(&platform, "ADMIN", ADMIN_PASSWORD).await;

    granted.expect(200);
    assert_eq!(granted.body["token_type"], "bearer");
    assert_eq!(granted.body["expires_in"], 1200);
    assert_eq!(granted.headers["cache-control"], "no-store");
    let token = text(&granted, "access_token");
    assert_eq!(claims(&token)["user_name"], "admin");
    let client = platform.anonymous().with_token(&token);
    assert_eq!(client.get("/v3/organizations").await.names(), ["default"]);
}

#[tokio::test]
async fn wrong_password_and_unknown_user_look_the_same() {
    let platform = TestPlatform::start().await;

    let wrong = log_in(&platform, "admin", "wrong").await;
    let unknown = log_in(&platform, "nobody", "wrong").await;

    assert_eq!(wrong.expect(401)["error_description"], "Bad credentials");
    assert_eq!(wrong.expect(401)["error"], "unauthorized");
    assert_eq!(wrong.body, unknown.body);
    assert_eq!(unknown.status, 401);
}

#[tokio::test]
async fn five_wrong_passwords_lock_the_name_for_five_minutes() {
    let platform = TestPlatform::start().await;
    for _ in 0..5 {
        log_in(&platform, "admin", "wrong").await.expect(401);
    }

    let locked = log_in(&platform, "admin", ADMIN_PASSWORD).await;
    let told = "Your account has been locked because of too many failed attempts to login.";
    assert_eq!(locked.expect(401)["error_description"], told);

    platform.clock.advance(Duration::from_secs(301));
    log_in(&platform, "admin", ADMIN_PASSWORD).await.expect(200);
}

#[tokio::test]
async fn expired_token_is_refused_and_a_refresh_token_yields_a_new_one() {
    let platform = TestPlatform::start().await;
    let granted = log_in(&platform, "admin", ADMIN_PASSWORD).await;
    platform.clock.advance(Duration::from_secs(1200));

    let expired = platform.anonymous().with_token(&text(&granted, "access_token"));
    let refused = expired.get("/v3/organizations").await;
    assert_eq!(refused.detail(401), "Invalid Auth Token");
    assert_eq!(refused.body["errors"][0]["code"], 1000);

    let refresh = text(&granted, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let again = grant(&platform, &form).await;
    let client = platform.anonymous().with_token(&text(&again, "access_token"));
    client.get("/v3/organizations").await.expect(200);
}

#[tokio::test]
async fn refresh_token_lives_thirty_days() {
    let platform = TestPlatform::start().await;
    let granted = log_in(&platform, "admin", ADMIN_PASSWORD).await;
    let refresh = text(&granted, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");

    platform.clock.advance(Duration::from_secs(30 * 24 * 3600 - 1));
    grant(&platform, &form).await.expect(200);
    platform.clock.advance(Duration::from_secs(1));
    assert_eq!(grant(&platform, &form).await.expect(401)["error"], "invalid_token");
}

#[tokio::test]
async fn missing_forged_and_foreign_tokens_are_refused() {
    let platform = TestPlatform::start().await;
    let granted = log_in(&platform, "admin", ADMIN_PASSWORD).await;
    let refresh = text(&granted, "refresh_token");
    let mut parts: Vec<&str> = refresh.split('.').collect();
    let forged_claims = URL_SAFE_NO_PAD.encode(r#"{"user_id":"0","exp":9999999999}"#);
    parts[1] = &forged_claims;
    let forged = parts.join(".");
    let other = TestPlatform::start().await;
    let foreign = text(&log_in(&other, "admin", ADMIN_PASSWORD).await, "access_token");

    let missing = platform.anonymous().get("/v3/organizations").await;
    assert_eq!(missing.detail(401), "Authentication error");
    for token in [forged, foreign, refresh, "garbage".to_owned()] {
        let client = platform.anonymous().with_token(&token);
        assert_eq!(client.get("/v3/organizations").await.detail(401), "Invalid Auth Token");
        assert_eq!(client.get("/Users").await.expect(401)["error"], "invalid_token");
    }
}

#[tokio::test]
async fn token_of_a_deleted_account_is_worth_nothing() {
    let platform = TestPlatform::start().await;
    let admin = platform.as_admin().await;
    let eve = serde_json::json!({ "userName": "eve", "password": "secret" });
    let eve = text(&admin.post("/Users", eve).await, "id");
    let token = text(&log_in(&platform, "eve", "secret").await, "access_token");
    let client = platform.anonymous().with_token(&token);
    client.get("/v3/organizations").await.expect(200);

    admin.delete(&format!("/Users/{eve}")).await.expect(200);

    assert_eq!(client.get("/v3/organizations").await.detail(401), "Invalid Auth Token");
}

#[tokio::test]
async fn revoking_a_token_ends_every_session_of_the_user() {
    let platform = TestPlatform::start().await;
    let granted = log_in(&platform, "admin", ADMIN_PASSWORD).await;
    let client = platform.anonymous().with_token(&text(&granted, "access_token"));
    platform.clock.advance(Duration::from_millis(1));

    let jti = text(&granted, "jti");
    client.delete(&format!("/oauth/token/revoke/{jti}")).await.expect(200);

    assert_eq!(client.get("/v3/organizations").await.detail(401), "Invalid Auth Token");
    let refresh = text(&granted, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    grant(&platform, &form).await.expect(401);
}

#[tokio::test]
async fn other_clients_and_grants_are_refused_with_a_reason() {
    let platform = TestPlatform::start().await;

    let form = "grant_type=client_credentials&client_id=ci&client_secret=x";
    let client = platform.anonymous();
    let credentials = client.send(Method::POST, "/oauth/token", &[], form.into()).await;
    assert_eq!(credentials.expect(401)["error"], "invalid_client");

    let form = "grant_type=password&username=admin&password=x&client_id=other";
    let other = client.send(Method::POST, "/oauth/token", &[], form.into()).await;
    assert_eq!(other.expect(401)["error"], "invalid_client");

    let implicit = grant(&platform, "grant_type=implicit").await;
    assert_eq!(implicit.expect(400)["error"], "unsupported_grant_type");
    let incomplete = grant(&platform, "grant_type=password&username=admin").await;
    assert_eq!(incomplete.expect(400)["error_description"], "password is missing");
    let passcode = grant(&platform, "grant_type=password&passcode=123").await;
    assert_eq!(passcode.expect(401)["error"], "unauthorized");
}

#[tokio::test]
async fn prompts_and_keys_need_no_token() {
    let platform = TestPlatform::start().await;
    let client = platform.anonymous();

    let login = client.get("/login").await;
    assert_eq!(login.expect(200)["prompts"]["password"][0], "password");
    let key = client.get("/token_key").await;
    assert_eq!(key.expect(200)["alg"], "ES256");
    assert!(text(&key, "value").starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert_eq!(client.get("/token_keys").await.expect(200)["keys"][0], key.body);
    let discovery = client.get("/.well-known/openid-configuration").await;
    assert_eq!(discovery.expect(200)["jwks_uri"], "https://api.cupola.test/token_keys");
    client.get("/userinfo").await.expect(401);
}

#[tokio::test]
async fn token_is_good_although_the_clock_was_set_back_since_the_last_password() {
    let platform = TestPlatform::start().await;
    platform.clock.set_back(Duration::from_secs(60));

    let granted = log_in(&platform, "admin", ADMIN_PASSWORD).await;
    granted.expect(200);
    let client = platform.anonymous().with_token(&text(&granted, "access_token"));
    client.get("/v3/organizations").await.expect(200);
    let refresh = text(&granted, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    grant(&platform, &form).await.expect(200);

    // Nor does it hold back who wants to be logged out everywhere.
    let admin = platform.as_admin().await;
    admin.delete(&format!("/oauth/token/revoke/{}", admin.user_id())).await;
    client.get("/v3/organizations").await.expect(401);
}

#[tokio::test]
async fn name_longer_than_any_user_has_is_wrong_and_not_remembered() {
    let platform = TestPlatform::start().await;
    let name = "a".repeat(256);
    for _ in 0..6 {
        let refused = log_in(&platform, &name, "wrong").await;
        assert_eq!(refused.expect(401)["error_description"], "Bad credentials");
    }
}
