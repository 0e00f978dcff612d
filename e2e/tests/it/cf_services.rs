//! Services that users provide: made, bound, found by the app, taken away.

use crate::{
    apps::{are_all_running, binary_app, instance_ids, push, recent_logs},
    platform::{Platform, wait_for},
};

const SECRET: &str = "hunter2-of-the-test";

/// The app's environment, as it says itself.
fn environment(platform: &Platform, app: &str) -> String {
    let answer = platform.get(app, "/env");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[test]
fn cf_services_are_found_after_a_restart_and_gone_after_unbinding() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    let pushed = push(&cf, "shop", &binary_app(&platform, "shop"), &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    let credentials = format!(r#"{{"password":"{SECRET}"}}"#);

    let made = cf.ok(&["cups", "db", "-p", &credentials, "-t", "sql, main"]);
    made.says("Creating user provided service db").says("OK");
    cf.types("cups db").says("Service instance db already exists");
    cf.types("cups drain -l syslog-tls://logs.example:6514 -r https://routes.example");
    let shown = cf.types("service drain");
    shown.says("user-provided").says("syslog-tls://logs.example:6514");
    shown.says("https://routes.example").says("create succeeded").does_not_say(SECRET);
    cf.types("service db").says("sql, main").says("There are no bound apps");
    let guid = cf.types("service db --guid").stdout;
    assert_eq!(guid.trim().len(), 36, "{guid}");
    cf.is_refused("service db --params");
    cf.types("bind-service shop db --binding-name primary").says("TIP: Use 'cf restage shop'");
    cf.types("bind-service shop db").says("App shop is already bound to service instance db.");
    let with_parameters = cf.fails(&["bind-service", "shop", "drain", "-c", r#"{"a":1}"#]);
    with_parameters.says("Binding parameters are not supported for user-provided");
    cf.types("services").says("user-provided").says("shop");
    cf.types("service db").says("shop").says("primary").says("create succeeded");
    cf.types("env shop").says("VCAP_SERVICES").says(SECRET);
    assert!(environment(&platform, "shop").contains("VCAP_SERVICES={}\n"));

    cf.ok(&["restart", "shop"]);
    let found = environment(&platform, "shop");
    assert!(found.contains(SECRET) && found.contains(r#""name":"primary""#), "{found}");
    let task = "echo task $VCAP_SERVICES";
    cf.ok(&["run-task", "shop", "--command", task, "--wait"]);
    recent_logs(&cf, "shop").says("OUT task {").says(SECRET);

    // New credentials wait for a start. A crash brings back what was, also after control was killed.
    cf.ok(&["uups", "db", "-p", r#"{"password":"newer"}"#]).says("cf restage");
    platform.kill_control();
    platform.up();
    assert!(environment(&platform, "shop").contains(SECRET));
    let before = instance_ids(&cf, "shop");
    let _ = platform.try_get("shop", "/exit?code=3");
    wait_for("another instance", || {
        (instance_ids(&cf, "shop") != before && are_all_running(&cf, "shop")).then_some(())
    });
    platform.wait_for_status("shop", 200);
    assert!(environment(&platform, "shop").contains(SECRET));

    cf.types("rename-service drain tap").says("OK");
    cf.types("create-app-manifest shop -p written.yml");
    let written = std::fs::read_to_string(cf.directory.join("written.yml")).unwrap();
    assert!(written.contains("- name: db\n    binding_name: primary"), "{written}");
    cf.is_refused("create-service-key db key").says("not supported for user-provided");
    cf.types("service-keys db").says("No service keys for service instance db");
    cf.types("unbind-service shop db").says("OK");
    cf.types("unbind-service shop db");
    cf.ok(&["restart", "shop"]);
    assert!(environment(&platform, "shop").contains("VCAP_SERVICES={}\n"));
    cf.types("delete-service -f db").says("Service instance db deleted");
    cf.types("delete-service -f db").says("did not exist");
    let events = cf.json("/v3/audit_events?per_page=200").to_string();
    assert!(events.contains("audit.service_binding.create"), "{events}");
    assert!(!events.contains(SECRET));
}

#[test]
fn cf_services_reach_an_app_as_files_that_it_cannot_change() {
    let mut platform = Platform::start();
    let cf = platform.cf_admin();
    let credentials = format!(r#"{{"password":"{SECRET}"}}"#);
    cf.ok(&["cups", "db", "-p", &credentials]);
    let folder = binary_app(&platform, "shop");
    let folder = folder.to_str().unwrap();
    let manifest = "applications:\n- name: shop\n  services: [db]\n  memory: 32M\n  \
                    buildpacks: [binary_buildpack]\n  features:\n    service-binding-k8s: true\n";
    let path = platform.folder().join("manifest.yml");
    std::fs::write(&path, manifest).unwrap();
    let command = "export FOUND=$(cat $SERVICE_BINDING_ROOT/db/password); \
                   touch $SERVICE_BINDING_ROOT/db/password && export WRITABLE=yes; exec ./binary";
    let pushed = cf.run(&["push", "-f", path.to_str().unwrap(), "-p", folder, "-c", command]);
    assert_eq!(pushed.code, Some(0), "{pushed}");

    let found = environment(&platform, "shop");
    assert!(found.contains(&format!("FOUND={SECRET}\n")), "{found}");
    assert!(found.contains("SERVICE_BINDING_ROOT=/etc/cf-service-bindings\n"), "{found}");
    assert!(!found.contains("WRITABLE") && !found.contains("VCAP_SERVICES="), "{found}");
    let show = "ls -ln /etc/cf-service-bindings/db/password";
    platform.kill_control();
    platform.up();
    assert!(environment(&platform, "shop").contains(SECRET));
    cf.ok(&["run-task", "shop", "--command", show, "--wait"]);
    recent_logs(&cf, "shop").says("-r--r--r--").says("/etc/cf-service-bindings/db/password");

    // Without the key of its secrets the platform does not start, and with it it does again.
    platform.kill_control();
    let key = platform.data_dir().join("sealing-key");
    let aside = platform.folder().join("sealing-key");
    std::fs::rename(&key, &aside).unwrap();
    platform.is_refused().says("sealing-key, is missing").says("Put the key file");
    assert!(!key.exists(), "a new key would only hide that the old one is gone");
    std::fs::rename(&aside, &key).unwrap();
    platform.up();
    cf.types("env shop").says("SERVICE_BINDING_ROOT");
}
