//! Tables of what bindings become.

use super::*;

fn bound(name: &str, credentials: Value) -> BoundService {
    let Value::Object(credentials) = credentials else { panic!("credentials are an object") };
    BoundService {
        instance_id: ServiceInstanceId::random(),
        instance_name: name.to_owned(),
        binding_id: ServiceBindingId::random(),
        binding_name: None,
        tags: vec!["sql".to_owned()],
        credentials,
        syslog_drain_url: None,
    }
}

fn services(delivery: ServiceDelivery, bindings: Vec<BoundService>) -> BoundServices {
    BoundServices { delivery, bindings }
}

fn file<'a>(found: &'a Materialized, path: &str) -> Option<&'a str> {
    let file = found.files.iter().find(|file| file.path == path);
    file.map(|file| file.content.as_str())
}

#[test]
fn vcap_services_has_the_fields_of_cloud_controller() {
    let one = bound("db", json!({ "password": "s3cret" }));
    let (instance, binding) = (one.instance_id.to_string(), one.binding_id.to_string());

    let found = services(ServiceDelivery::Variable, vec![one]).vcap_services();

    assert_eq!(
        found,
        json!({ "user-provided": [{
            "label": "user-provided",
            "name": "db",
            "tags": ["sql"],
            "instance_guid": instance,
            "instance_name": "db",
            "binding_guid": binding,
            "binding_name": null,
            "credentials": { "password": "s3cret" },
            "syslog_drain_url": null,
            "volume_mounts": [],
        }] })
    );
}

#[test]
fn name_of_the_binding_wins_over_that_of_the_instance() {
    let named = BoundService { binding_name: Some("primary".to_owned()), ..bound("db", json!({})) };

    let found = services(ServiceDelivery::Variable, vec![named]).vcap_services();

    assert_eq!(found["user-provided"][0]["name"], "primary");
    assert_eq!(found["user-provided"][0]["binding_name"], "primary");
    assert_eq!(found["user-provided"][0]["instance_name"], "db");
}

#[test]
fn of_several_bindings_to_one_instance_the_newest_is_found() {
    let old = bound("db", json!({}));
    let new = BoundService { binding_id: ServiceBindingId::random(), ..old.clone() };
    let other = bound("queue", json!({}));

    let all = vec![old, other, new.clone()];
    let found = services(ServiceDelivery::Variable, all).vcap_services();

    let entries = found["user-provided"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["binding_guid"], new.binding_id.to_string());
}

#[test]
fn without_services_the_variable_is_an_empty_object() {
    let none = services(ServiceDelivery::Variable, Vec::new()).materialize().unwrap();

    assert_eq!(none.variables["VCAP_SERVICES"], "{}");
    assert_eq!(none.files, Vec::new());
}

#[test]
fn variable_in_a_file_has_what_the_variable_would_have() {
    let all = services(ServiceDelivery::VariableInFile, vec![bound("db", json!({ "a": 1 }))]);

    let found = all.materialize().unwrap();

    let path = "/etc/cf-service-bindings/vcap_services";
    assert_eq!(found.variables["VCAP_SERVICES_FILE_PATH"], path);
    assert_eq!(found.variables.get("VCAP_SERVICES"), None);
    assert_eq!(file(&found, "vcap_services"), Some(all.vcap_services().to_string().as_str()));
}

#[test]
fn folder_of_a_binding_has_a_file_for_each_credential_and_says_what_it_is() {
    let one =
        bound("db", json!({ "password": "s3cret", "ports": [1, 2], "none": null, "tags": "x" }));
    let found = services(ServiceDelivery::Folders, vec![one]).materialize().unwrap();

    assert_eq!(found.variables["SERVICE_BINDING_ROOT"], "/etc/cf-service-bindings");
    assert_eq!(file(&found, "db/password"), Some("s3cret"));
    assert_eq!(file(&found, "db/ports"), Some("[1,2]"));
    assert_eq!(file(&found, "db/none"), None);
    assert_eq!(file(&found, "db/tags"), Some("[\"sql\"]"));
    assert_eq!(file(&found, "db/type"), Some("user-provided"));
    assert_eq!(file(&found, "db/provider"), Some("user-provided"));
    assert_eq!(file(&found, "db/instance-name"), Some("db"));
    assert_eq!(file(&found, "db/volume-mounts"), None);
}

#[test]
fn names_that_leave_the_folder_or_clash_are_refused() {
    let materialize = |all| services(ServiceDelivery::Folders, all).materialize().unwrap_err();

    let outside = materialize(vec![bound("..", json!({}))]);
    let capital = materialize(vec![bound("DB", json!({}))]);
    let key = materialize(vec![bound("db", json!({ "../x": "1" }))]);
    let twice = materialize(vec![bound("db", json!({})), bound("db", json!({}))]);

    assert!(matches!(outside, IncompatibleBindings::BadName { .. }), "{outside}");
    assert!(matches!(capital, IncompatibleBindings::BadName { .. }), "{capital}");
    assert!(matches!(key, IncompatibleBindings::BadKey { .. }), "{key}");
    assert!(matches!(twice, IncompatibleBindings::DuplicateName { .. }), "{twice}");
}

#[test]
fn what_is_too_large_is_refused_and_the_refusal_holds_no_secret() {
    let large = |bytes| vec![bound("db", json!({ "key": "s".repeat(bytes) }))];

    let variable = services(ServiceDelivery::Variable, large(131_072)).materialize().unwrap_err();
    let files = services(ServiceDelivery::Folders, large(1_000_000)).materialize().unwrap_err();
    let fits = services(ServiceDelivery::VariableInFile, large(131_072)).materialize();

    assert!(variable.to_string().contains("file-based-vcap-services"), "{variable}");
    assert!(files.to_string().starts_with("Bindings exceed the maximum"), "{files}");
    assert!(fits.is_ok());
}

#[test]
fn what_is_written_for_debugging_names_variables_and_files_without_their_values() {
    let credentials = json!({ "uri": "postgres://u:hush@h/d" });
    let written = |delivery| {
        let found = services(delivery, vec![bound("db", credentials.clone())]).materialize();
        format!("{:?}", found.unwrap())
    };

    let (variable, files) = (written(ServiceDelivery::Variable), written(ServiceDelivery::Folders));

    assert!(variable.contains("VCAP_SERVICES") && variable.contains("DATABASE_URL"), "{variable}");
    assert!(files.contains("db/uri"), "{files}");
    assert!(!variable.contains("hush") && !files.contains("hush"), "{variable} {files}");
}

#[test]
fn address_of_a_database_is_told_in_the_words_of_rails() {
    let cache = bound("cache", json!({ "uri": "redis://cache" }));
    let db = bound("db", json!({ "uri": "postgresql://u:p@h/d" }));

    let found = services(ServiceDelivery::Variable, vec![cache, db]).materialize().unwrap();

    assert_eq!(found.variables["DATABASE_URL"], "postgres://u:p@h/d");
}
