//! What each event becomes among the changes.

use super::*;
use crate::{audit::Party, ids::EventId, time::Timestamp};

fn event(kind: &str, data: Value) -> AuditEvent {
    let party = |kind: &str, name: &str| Party {
        id: "1".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    AuditEvent {
        id: EventId::random(),
        kind: kind.to_owned(),
        actor: party("process", "web"),
        target: party("app", "shop"),
        data,
        space_id: None,
        org_id: None,
        created_at: Timestamp::from_micros(0),
    }
}

fn told(kind: &str, data: Value) -> (&'static str, String) {
    let told = tell(&event(kind, data)).unwrap();
    (told.kind, told.summary)
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn difference_has_what_was_and_what_is_of_each_field_that_differs() {
    let before = json!({ "instances": 1, "memory_in_mb": 64, "label a": "x" });
    let after = json!({ "instances": 3, "memory_in_mb": 64, "label b": "y" });

    let difference = Value::Object(difference(&before, &after));

    assert_eq!(
        difference,
        json!({
            "instances": { "before": 1, "after": 3 },
            "label a": { "before": "x", "after": null },
            "label b": { "before": null, "after": "y" },
        })
    );
}

#[test]
fn difference_of_variables_names_them_and_has_no_value() {
    let before = variables(&[("KEPT", "hush"), ("OLD", "hush1"), ("TURNED", "hush2")]);
    let after = variables(&[("KEPT", "hush"), ("NEW", "hush3"), ("TURNED", "hush4")]);

    let difference = environment_difference(&before, &after).unwrap();

    assert_eq!(difference, json!({ "added": ["NEW"], "changed": ["TURNED"], "removed": ["OLD"] }));
    assert!(!difference.to_string().contains("hush"));
    assert_eq!(environment_difference(&before, &before), None);
}

#[test]
fn secret_tells_how_it_changed_and_nothing_else() {
    for (before, after, how) in [
        (None, Some("a"), Some("set")),
        (Some("a"), Some("b"), Some("changed")),
        (Some("a"), None, Some("removed")),
        (Some("a"), Some("a"), None),
        (None, None, None),
    ] {
        assert_eq!(secret_difference(before, after), how);
    }
}

#[test]
fn every_change_is_told_in_one_line() {
    let commit = json!({ "id": "0123456789abcdef0123", "dirty": true });
    let scale = json!({
        "process_type": "web",
        "changed": { "instances": { "before": 1, "after": 3 }, "command": "changed" },
    });
    let variables =
        json!({ "changed": { "environment": { "added": ["A", "B"], "removed": ["C"] } } });
    let stack = json!({ "changed": { "stack": { "before": "host", "after": "bookworm" } } });
    let crash = json!({ "index": 0, "exit_description": "Exited with status 3", "crash_count": 2 });
    let rollback = json!({ "type": "rollback", "strategy": "rolling", "revision_version": 4 });
    let cost = json!({
        "before": null,
        "during": { "served": 120, "failed": 0, "p99_ms": 12.4 },
        "after": { "served": 7, "failed": 1, "p99_ms": null },
    });
    let release = json!({ "revision_version": 2, "commit": commit });
    let revision = json!({ "revision_version": 2, "description": "New droplet deployed." });
    for (kind, data, wanted) in [
        ("audit.app.create", json!({}), ("app", "created shop")),
        ("audit.app.update", variables, ("environment", "variables added A B; removed C")),
        ("audit.app.update", stack, ("settings", "stack host to bookworm")),
        ("audit.app.process.scale", scale, ("scale", "web: command changed, instances 1 to 3")),
        (
            "audit.app.process.crash",
            crash,
            ("crash", "web/0 crashed: Exited with status 3, 2 times in a row"),
        ),
        (
            "audit.app.restart",
            release,
            ("restart", "restarted as revision 2, commit 0123456789ab (dirty)"),
        ),
        ("audit.app.revision.create", revision, ("revision", "revision 2: New droplet deployed.")),
        ("audit.app.deployment.create", rollback, ("deployment", "rolling rollback of revision 4")),
        (
            "audit.app.deployment.cost",
            cost,
            (
                "deployment",
                "what the deployment cost: during it 120 served, 0 failed, p99 12 ms; after it 7 \
                 served, 1 failed",
            ),
        ),
        (
            "audit.app.deployment.cost",
            json!({}),
            ("deployment", "what the deployment cost is not known"),
        ),
        (
            "audit.app.map-route",
            json!({ "route": "shop.example.com" }),
            ("route", "mapped shop.example.com"),
        ),
        ("audit.route.transfer-owner", json!({}), ("route", "route shop: transfer-owner")),
        (
            "audit.service_binding.delete",
            json!({ "service_instance_name": "db" }),
            ("binding", "unbound from db"),
        ),
    ] {
        assert_eq!(told(kind, data), (wanted.0, wanted.1.to_owned()), "{kind}");
    }
}

#[test]
fn reading_is_no_change() {
    assert_eq!(tell(&event("audit.app.environment.show", json!({}))), None);
}
