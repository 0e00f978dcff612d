//! Sources that need not be sent: a repeat push, `cf copy-source`, and packages by hand.

use std::fs;

use crate::{
    apps::{files, guid, push},
    cli::Cli,
    platform::{Platform, wait_for},
};

const START: &str = "web: exec python3 -m http.server $PORT --bind 0.0.0.0\n";

fn site(platform: &Platform) -> std::path::PathBuf {
    let pages = [("Procfile", START), ("page.html", "version 1\n"), ("same.html", "same\n")];
    files(platform, "site", &pages)
}

/// How many of the files that the CLI has it was told are known.
fn told(cf: &Cli, folder: &std::path::Path) -> usize {
    let mut files = Vec::new();
    for name in ["Procfile", "page.html", "same.html"] {
        let path = folder.join(name);
        let sum = std::process::Command::new("sha1sum").arg(&path).output().unwrap().stdout;
        let sha1 = String::from_utf8(sum).unwrap()[..40].to_owned();
        let bytes = fs::metadata(&path).unwrap().len();
        files.push(serde_json::json!({ "checksum": { "value": sha1 }, "size_in_bytes": bytes }));
    }
    let body = serde_json::json!({ "resources": files }).to_string();
    let ran = cf.ok(&["curl", "-X", "POST", "-d", &body, "/v3/resource_matches"]);
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    answer["resources"].as_array().unwrap().len()
}

#[test]
fn repeat_push_sends_only_what_changed() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = site(&platform);
    assert_eq!(told(&cf, &folder), 0);
    let first = push(&cf, "site", &folder, &[]);
    assert_eq!(first.code, Some(0), "{first}");
    first.says("Uploading files...");

    let same = push(&cf, "site", &folder, &[]);
    fs::write(folder.join("page.html"), "version 2\n").unwrap();
    let told_before = told(&cf, &folder);
    let changed = push(&cf, "site", &folder, &[]);
    let told_after = told(&cf, &folder);

    assert_eq!(same.code, Some(0), "{same}");
    same.says("All files found in remote cache; nothing to upload.");
    assert_eq!(changed.code, Some(0), "{changed}");
    changed.says("Uploading files...");
    assert_eq!((told_before, told_after), (2, 3));
    assert_eq!(platform.get("site", "/page.html").body, "version 2\n");
    assert_eq!(platform.get("site", "/same.html").body, "same\n");
    stranger_is_told_nothing(&platform, &cf, &folder);
}

/// Small files of others, whose contents can be guessed.
fn stranger_is_told_nothing(platform: &Platform, cf: &Cli, folder: &std::path::Path) {
    cf.ok(&["create-space", "other"]);
    cf.ok(&["create-user", "eve", "a password of eve"]);
    cf.ok(&["set-space-role", "eve", "default", "other", "SpaceDeveloper"]);
    let eve = platform.cf("eve", "a password of eve");
    assert_eq!(told(&eve, folder), 0);
    assert_eq!(told(cf, folder), 3);
}

#[test]
fn cf_copies_sources_and_handles_packages_and_droplets() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = site(&platform);
    let pushed = push(&cf, "site", &folder, &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.ok(&["create-space", "prod"]);
    for (name, space) in [("copy", "dev"), ("live", "prod")] {
        cf.ok(&["target", "-s", space]);
        let app = files(&platform, name, &[("Procfile", START), ("page.html", "not yet\n")]);
        let pushed = push(&cf, name, &app, &[]);
        assert_eq!(pushed.code, Some(0), "{pushed}");
    }
    cf.ok(&["target", "-s", "dev"]);

    cf.types("copy-source site copy").says("Copying source from app site to target app copy");
    assert_eq!(platform.get("copy", "/page.html").body, "version 1\n");
    cf.types("copy-source site live -s prod -o default --strategy rolling").says("running");
    wait_for("the copied source in prod", || {
        (platform.get("live", "/page.html").body == "version 1\n").then_some(())
    });
    fs::write(folder.join("page.html"), "version 2\n").unwrap();
    let pushed = push(&cf, "site", &folder, &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("copy-source site copy --no-restart").says("OK");
    assert_eq!(platform.get("copy", "/page.html").body, "version 1\n");
    cf.types("copy-source site copy --strategy canary")
        .says("Active deployment with status PAUSED");
    cf.types("continue-deployment copy").says("running");
    assert_eq!(platform.get("copy", "/page.html").body, "version 2\n");
    cf.is_refused("copy-source site nothing").says("App 'nothing' not found");
    cf.is_refused("copy-source nothing site").says("App 'nothing' not found");
    cf.is_refused("copy-source site live -s nowhere").says("Space 'nowhere' not found");

    packages_by_hand(&platform, &cf, &folder);
}

fn packages_by_hand(platform: &Platform, cf: &Cli, folder: &std::path::Path) {
    fs::write(folder.join("page.html"), "version 3\n").unwrap();
    let path = folder.to_str().unwrap();
    let created = cf.ok(&["create-package", "site", "-p", path]);
    created.says("Package with guid").says("has been created.");
    cf.types("packages site").says("ready");
    let staged = cf.types("stage-package site");
    staged.says("Staging package for site");
    let app = guid(cf, "site");
    let newest = format!("/v3/droplets?app_guids={app}&order_by=-created_at&per_page=1");
    let droplet = cf.json(&newest)["resources"][0]["guid"].as_str().unwrap().to_owned();
    cf.types("droplets site").says("staged").says("(current)").says(&droplet);
    cf.types(&format!("set-droplet site {droplet}")).says("OK");
    cf.types("restart site").says("running");
    assert_eq!(platform.get("site", "/page.html").body, "version 3\n");
    cf.is_refused("set-droplet site nothing").says("Unable to assign current droplet.");
    cf.is_refused("stage-package nothing").says("App 'nothing' not found");
    cf.types("delete site -f").says("OK");
    cf.is_refused("droplets site").says("App 'site' not found");
}
