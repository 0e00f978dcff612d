//! Manifests that are read, refused, compared and written back.

use serde_json::json;

use super::{parse::manifest, *};
use crate::processes::{CheckKind, Scale};

fn refused(text: &str) -> String {
    manifest(text).unwrap_err().to_string()
}

fn application(keys: &str) -> String {
    format!("applications:\n- name: shop\n{keys}")
}

#[test]
fn keys_of_the_top_are_those_of_the_web_process() {
    let manifest = manifest(&application(
        "  memory: 1G\n  instances: 2\n  command: ./run\n  health-check-type: none\n",
    ))
    .unwrap();

    let web = &manifest.apps[0].processes[0];
    assert_eq!(web.kind, "web");
    assert_eq!(web.scale, Scale { instances: Some(2), memory_mib: Some(1024), ..Scale::default() });
    assert_eq!(web.change.command, Some(Some("./run".to_owned())));
    assert_eq!(web.change.health_check.kind, Some(CheckKind::Process));
}

#[test]
fn web_of_the_list_wins_over_the_top() {
    let text = application("  memory: 1G\n  processes:\n  - type: web\n    instances: 3\n");

    let mut manifest = manifest(&text).unwrap();

    let processes = manifest.apps.remove(0).processes;
    assert!(manifest.warnings[0].starts_with("The key 'memory' of application 'shop' was ignored"));
    assert_eq!(processes.len(), 1);
    assert_eq!(processes[0].scale, Scale { instances: Some(3), ..Scale::default() });
}

#[test]
fn values_of_variables_become_text() {
    let text = application("  env:\n    N: 1\n    B: true\n    L: [1, 2]\n    E:\n");

    let environment = manifest(&text).unwrap().apps.remove(0).environment;

    let values: Vec<_> = environment.into_values().flatten().collect();
    assert_eq!(values, ["true", "", "[1,2]", "1"]);
}

#[test]
fn word_for_detection_names_no_buildpack() {
    let detect = manifest(&application("  buildpacks: [default]\n")).unwrap();
    let named = manifest(&application("  buildpack: go_buildpack\n")).unwrap();

    assert_eq!(detect.apps[0].lifecycle.buildpacks, Some(Vec::new()));
    assert_eq!(named.apps[0].lifecycle.buildpacks, Some(vec!["go_buildpack".to_owned()]));
}

#[test]
fn key_that_nothing_knows_is_told_and_ignored() {
    let manifest = manifest(&application("  memroy: 1G\n  path: dist\n")).unwrap();

    assert_eq!(
        manifest.warnings,
        ["The key 'memroy' of application 'shop' is not known and was ignored."]
    );
}

#[test]
fn what_is_wrong_is_told_with_the_name_of_the_application() {
    for (keys, detail) in [
        (
            "  memory: 64\n",
            "Process \"web\": Memory must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB",
        ),
        ("  instances: -1\n", "Process \"web\": Instances must be greater than or equal to 0"),
        ("  env: 1\n", "Env must be an object of keys and values"),
        ("  env: {PORT: 1}\n", "Env cannot set PORT"),
        ("  routes: [a]\n", "Routes must be a list of route objects"),
        ("  routes: [{route: 'a b'}]\n", "The route 'a b' is not a properly formed URL"),
        ("  processes: [{memory: 1G}]\n", "All Processes must specify a type"),
        (
            "  random-route: true\n  default-route: true\n",
            "Random-route and default-route may not be used together",
        ),
        (
            "  health-check-type: ping\n",
            "Process \"web\": Health check type must be \"port\", \"process\", or \"http\"",
        ),
        (
            "  buildpack: a\n  buildpacks: [b]\n",
            "Buildpack and Buildpacks fields cannot be used together.",
        ),
    ] {
        assert_eq!(refused(&application(keys)), format!("For application 'shop': {detail}"));
    }
    assert_eq!(
        refused("applications:\n- memory: 1G\n"),
        "For application at index 0: Name must not be empty"
    );
}

#[test]
fn same_size_in_another_unit_is_no_difference() {
    let present = present_app();
    let wanted = json!({ "name": "shop", "memory": "1G", "env": { "N": 1 } });

    let differences = diff::of_app(0, wanted.as_object().unwrap().clone(), Some(&present));

    assert_eq!(differences, []);
}

#[test]
fn differences_are_told_where_they_are_in_the_manifest() {
    let present = present_app();
    let wanted = json!({
        "name": "shop",
        "memory": "2G",
        "env": { "M": "new" },
        "buildpacks": ["b"],
        "processes": [{ "type": "worker" }],
        "path": "dist",
    });

    let differences = diff::of_app(1, wanted.as_object().unwrap().clone(), Some(&present));

    let told: Vec<_> =
        differences.iter().map(|one| (one.operation.name(), one.path.as_str())).collect();
    assert_eq!(
        told,
        [
            ("add", "/applications/1/buildpacks/0"),
            ("remove", "/applications/1/buildpacks/0"),
            ("add", "/applications/1/env/M"),
            ("replace", "/applications/1/memory"),
            ("add", "/applications/1/processes/0"),
        ]
    );
}

#[test]
fn web_of_the_list_is_compared_and_not_the_top() {
    let present = present_app();
    let processes = json!([{ "type": "worker" }, { "type": "web", "instances": 2 }]);
    let wanted = json!({ "name": "shop", "memory": "2G", "processes": processes });

    let differences = diff::of_app(0, wanted.as_object().unwrap().clone(), Some(&present));

    let told: Vec<_> =
        differences.iter().map(|one| (one.operation.name(), one.path.as_str())).collect();
    assert_eq!(
        told,
        [
            ("add", "/applications/0/processes/0"),
            ("replace", "/applications/0/processes/1/instances"),
        ]
    );
}

#[test]
fn every_key_of_a_new_app_is_added() {
    let wanted = json!({ "name": "shop", "memory": "1G" });

    let differences = diff::of_app(0, wanted.as_object().unwrap().clone(), None);

    assert!(differences.iter().all(|one| one.operation == Operation::Add));
    assert_eq!(differences.len(), 2);
}

#[test]
fn wish_for_routes_that_is_met_is_no_difference() {
    let told = |wanted: serde_json::Value, present: Option<&serde_yaml_ng::Mapping>| {
        diff::of_app(0, wanted.as_object().unwrap().clone(), present).len()
    };
    let routeless = present_app();
    let mut routed = present_app();
    let routes = "[{route: shop.example.com, protocol: http1}]";
    routed.insert("routes".into(), serde_yaml_ng::from_str(routes).unwrap());
    let (default, none) = (json!({ "default-route": true }), json!({ "no-route": true }));

    assert_eq!(told(default.clone(), Some(&routed)), 0);
    assert_eq!(told(default.clone(), Some(&routeless)), 1);
    assert_eq!(told(default, None), 1);
    assert_eq!(told(none.clone(), Some(&routeless)), 0);
    assert_eq!(told(none, Some(&routed)), 1);
}

fn present_app() -> serde_yaml_ng::Mapping {
    let text = "name: shop\nbuildpacks: [a]\nenv: {N: '1'}\nprocesses:\n- type: web\n  instances: 1\n  memory: 1024M\n";
    serde_yaml_ng::from_str(text).unwrap()
}

#[test]
fn manifest_of_more_than_one_transaction_should_hold_is_refused() {
    let many = |count, one: fn(usize) -> String| (0..count).map(one).collect::<String>();
    let apps = |count| format!("applications:\n{}", many(count, |n| format!("- name: app-{n}\n")));
    let routes = |count| {
        let routes = many(count, |n| format!("  - route: shop-{n}.apps.example.com\n"));
        application(&format!("  routes:\n{routes}"))
    };
    let processes = |count| {
        let processes = many(count, |n| format!("  - type: worker-{n}\n"));
        application(&format!("  processes:\n{processes}"))
    };
    let buildpacks = |count| {
        let buildpacks = many(count, |n| format!("  - buildpack-{n}\n"));
        application(&format!("  buildpacks:\n{buildpacks}"))
    };

    for text in [apps(100), routes(100), processes(50), buildpacks(50)] {
        assert!(manifest(&text).is_ok());
    }
    assert_eq!(refused(&apps(101)), "There are 101 applications, and at most 100 are allowed here");
    for text in [routes(101), processes(51), buildpacks(51)] {
        assert!(refused(&text).starts_with("For application 'shop': There are"));
    }
}
