//! Logging in and out, targets, tokens and passwords.

use crate::{cf_story::user, platform::Platform};

#[test]
fn cf_user_logs_in_targets_changes_the_password_and_logs_out() {
    let platform = Platform::start();
    let admin = platform.cf_admin();
    let api = format!("http://{}", platform.api);

    admin.is_refused("api http://127.0.0.1:1").says("FAILED");
    admin.types(&format!("api {api}")).says("API version:").says("OK");
    admin.types("api").says(&api).says("API version:");
    admin.is_refused("apps").says("Not logged in");

    // The administrator, with everything on the command line.
    let password = platform.admin_password();
    let login = admin.ok(&["login", "-u", "admin", "-p", &password, "-o", "default", "-s", "dev"]);
    login.says("Targeted org default.").says("Targeted space dev.");
    admin.types("target").says("user:           admin").says("space:          dev");
    admin.is_refused("target -o nowhere").says("Organization 'nowhere' not found");
    admin.types("target -o default");
    admin.is_refused("target -s nowhere").says("Space 'nowhere' not found");
    admin.types("target -o default -s dev").says("org:            default");

    // A user with questions and answers. With one organisation and space nothing is asked of them.
    let vera = user(&platform, &admin, "vera");
    vera.is_refused("auth vera wrong").says("Credentials were rejected");
    vera.is_refused("auth nobody wrong").says("Credentials were rejected");
    let login = vera.answers("login", &["vera", "password-of-vera"]);
    assert_eq!(login.code, Some(0), "{login}");
    login.says("No org").says("user:");
    admin.types("set-space-role vera default dev SpaceDeveloper");
    let login = vera.answers("login", &["vera", "password-of-vera"]);
    assert_eq!(login.code, Some(0), "{login}");
    login.says("Targeted org default.").says("Targeted space dev.");
    let login = vera.answers("login", &["vera", "wrong", "wrong", "wrong"]);
    assert_eq!(login.code, Some(1), "{login}");
    login.says("Credentials were rejected").says("Unable to authenticate");
    vera.types("auth vera password-of-vera").says("OK");

    let token = vera.types("oauth-token").stdout;
    let token = token.trim();
    assert!(token.starts_with("bearer "), "{token}");
    assert_eq!(token.split('.').count(), 3, "a signed token has three parts: {token}");

    let passwd = vera.answers("passwd", &["wrong", "new-password", "new-password"]);
    assert_eq!(passwd.code, Some(1), "{passwd}");
    vera.types("target -o default -s dev");
    let passwd = vera.answers("passwd", &["password-of-vera", "new-password", "new-password"]);
    assert_eq!(passwd.code, Some(0), "{passwd}");
    passwd.says("Please log in again");
    vera.is_refused("apps").says("Not logged in");
    vera.is_refused("auth vera password-of-vera").says("Credentials were rejected");
    vera.types("auth vera new-password").says("OK");

    vera.types("logout").says("Logging out vera").says("OK");
    vera.is_refused("target").says("Not logged in");
    vera.is_refused("apps").says("Not logged in");
}

#[test]
fn cf_curl_sends_what_it_is_told_and_fails_when_asked_to() {
    let platform = Platform::start();
    let cf = platform.cf_admin();

    let root = cf.json("/");
    assert!(root["links"]["cloud_controller_v3"]["href"].is_string(), "{root}");
    let orgs = cf.json("/v3/organizations?names=default");
    let guid = orgs["resources"][0]["guid"].as_str().unwrap();
    cf.types("curl /v3/nothing").says("Unknown request");
    let failed = cf.run(&["curl", "/v3/nothing", "--fail"]);
    assert_eq!(failed.code, Some(22), "{failed}");
    let path = format!("/v3/organizations/{guid}");
    let body = r#"{"metadata":{"labels":{"team":"blue"}}}"#;
    cf.ok(&["curl", "-X", "PATCH", &path, "-d", body]).says("blue");
    cf.types("curl -i /v3/info").says("200 OK").says("Content-Type");
    cf.types("labels org default").says("team").says("blue");
}
