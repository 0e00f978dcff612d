//! Manifests: the diff that is shown, several apps and processes, what is sent, what is refused.

use std::fs;

use crate::{
    apps::{are_all_running, binary_app},
    cf_story::changes,
    cli::{Cli, Ran},
    platform::{Platform, wait_for},
};

const TWO_APPS: &str = "
applications:
- name: front
  path: app
  memory: 32M
  disk_quota: 64M
  buildpacks: [binary_buildpack]
  env:
    COLOUR: blue
    COUNT: 3
  metadata:
    labels:
      team: a
  routes:
  - route: front.apps.localhost
  - route: shared.apps.localhost/front
  processes:
  - type: web
    instances: 2
    memory: 32M
    disk_quota: 64M
  - type: worker
    command: exec ./binary
    instances: 1
    memory: 32M
    disk_quota: 64M
    health-check-type: process
- name: back
  path: app
  command: exec ./binary
  memory: 32M
  disk_quota: 64M
  no-route: true
  health-check-type: process
  buildpacks: [binary_buildpack]
";

/// Writes a manifest beside the folder `app` and pushes it.
fn push(platform: &Platform, cf: &Cli, manifest: &str, more: &[&str]) -> Ran {
    let folder = platform.folder().join("apps");
    fs::write(folder.join("manifest.yml"), manifest).unwrap();
    cf.in_directory(folder).run(&[&["push"], more].concat())
}

#[test]
fn cf_manifest_of_several_apps_and_processes_is_compared_and_applied() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    fs::write(folder.join("page.txt"), "first\n").unwrap();

    let first = push(&platform, &cf, TWO_APPS, &[]);
    assert_eq!(first.code, Some(0), "{first}");
    first.says("Pushing apps front, back").says("Manifest applied").says("Uploading files");
    let added = changes(&first);
    for line in ["+ - name: front", "+ COLOUR: blue", "+ type: worker", "+ - name: back"] {
        assert!(added.iter().any(|change| change == line), "`{line}` is not in {added:#?}");
    }
    // `cf push` waits for the first instance of each process only.
    wait_for("both instances", || are_all_running(&cf, "front").then_some(()));
    cf.types("apps").says("web:2/2, worker:1/1").says("front.apps.localhost");
    cf.types("app front").says("type:           web").says("type:           worker");
    cf.types("env front").says("COLOUR: blue").says("COUNT: 3");
    cf.types("labels app front").says("team");
    assert_eq!(platform.get("front", "/").status, 200);
    assert_eq!(platform.get("shared", "/front").status, 404, "the sample has no such page");
    assert!(platform.get("shared", "/front").body.contains("try /"));
    platform.wait_for_status("back", 404);

    // The same again: nothing is different, and nothing is sent.
    let again = push(&platform, &cf, TWO_APPS, &[]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(changes(&again), Vec::<String>::new(), "{again}");
    again.says("nothing to upload").does_not_say("Uploading files");

    // One value, one variable and one file are other.
    fs::write(folder.join("page.txt"), "second\n").unwrap();
    let other = TWO_APPS.replace("blue", "red").replace("instances: 2", "instances: 1");
    let changed = push(&platform, &cf, &other, &["front"]);
    assert_eq!(changed.code, Some(0), "{changed}");
    let expected = ["- COLOUR: blue", "+ COLOUR: red", "- instances: 2", "+ instances: 1"];
    let told = changes(&changed);
    for line in expected {
        assert!(told.iter().any(|change| change == line), "`{line}` is not in {told:#?}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    // The program has hundreds of KiB; the page is what was sent.
    changed.says("Uploading files").does_not_say("KiB");
    assert!(platform.get("front", "/env").body.contains("COLOUR=red"));
}

#[test]
fn cf_manifest_is_overridden_by_options_and_filled_with_variables() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    binary_app(&platform, "app");
    let manifest = "
applications:
- name: ((name))
  path: app
  memory: 64M
  instances: 2
  random-route: true
  buildpacks: [binary_buildpack]
";
    let pushed = push(&platform, &cf, manifest, &["--var", "name=one", "-i", "1", "-m", "32M"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    cf.types("app one").says("instances:      1/1").says("memory usage:   32M").says("one-");
    let renamed =
        push(&platform, &cf, manifest, &["two", "--var", "name=two", "--no-route", "-i", "1"]);
    assert_eq!(renamed.code, Some(0), "{renamed}");
    cf.types("app two").says("routes:            \n").says("memory usage:   64M");
    let missing = push(&platform, &cf, manifest, &[]);
    assert_eq!(missing.code, Some(1), "{missing}");

    // Without the manifest, and with the Procfile's two processes.
    let folder = platform.folder().join("apps/app");
    fs::write(folder.join("Procfile"), "web: ./binary\nworker: ./binary\n").unwrap();
    let options = ["three", "-p", "app", "-b", "binary_buildpack", "--no-manifest", "-m", "32M"];
    let pushed = push(&platform, &cf, manifest, &options);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    pushed.does_not_say("Applying manifest");
    cf.types("apps").says("web:1/1, worker:0/0");
    cf.types("scale three --process worker -i 1 -m 32M -f");
    cf.types("app three").says("type:           worker").says("instances:      1/1");
}

#[test]
fn cf_manifest_that_cannot_be_is_refused_and_makes_nothing() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    binary_app(&platform, "app");
    let wrong = [
        ("instances: -1", "Instances must be greater than or equal to 0"),
        ("memory: lots", "Memory is not a number"),
        ("buildpacks: [no_such_buildpack]", "no_such_buildpack"),
        ("stack: no-such-stack", "There is only 'host'"),
        ("routes: [{route: 'x.nowhere.example'}]", "x.nowhere.example"),
        ("routes: [{route: 'not a route'}]", "not a route"),
        ("routes: {}", "Routes must be a list"),
        ("processes: [{instances: 1}]", "type"),
        ("processes: [{type: web}, {type: web}]", "may only be present once"),
        ("health-check-type: prayer", "Health check type must be"),
        ("timeout: -3", "Timeout must be"),
        ("env: nothing", "Env must be"),
        ("env: {VCAP_X: y}", "VCAP_"),
        ("services: [database]", "Service instance 'database' not found"),
        ("sidecars: [{name: s, process_types: [], command: x}]", "at least 1 process_type"),
        ("metadata: {labels: [a]}", "labels"),
    ];
    for (line, told) in wrong {
        let manifest = format!(
            "applications:\n- name: good\n  path: app\n- name: bad\n  path: app\n  {line}\n"
        );
        let refused = push(&platform, &cf, &manifest, &[]);
        assert_eq!(refused.code, Some(1), "{line}: {refused}");
        refused.says(told).says("FAILED");
        assert!(refused.contains("bad"), "the application is not named: {refused}");
    }
    for manifest in
        ["applications: [", "applications: []", "- name: x", "applications:\n- path: app\n"]
    {
        let refused = push(&platform, &cf, manifest, &[]);
        assert_eq!(refused.code, Some(1), "{manifest}: {refused}");
    }
    let twice = "applications:\n- name: a\n  path: app\n- name: a\n  path: app\n";
    let refused = push(&platform, &cf, twice, &[]);
    assert_eq!(refused.code, Some(1), "{refused}");
    cf.types("apps").says("No apps found");
    cf.types("routes").says("No routes found");
}
