//! What audit events tell of an app's own settings, without what is secret.

use cupola_domain::{
    apps::App,
    changes::{CHANGED, difference, environment_difference},
    commits::{Commit, is_rework, without_login},
    orgs::Metadata,
};
use serde_json::{Map, Value, json};

use super::{AppChange, LifecycleChange, NewApp, actions::AppFeature};
use crate::orgs::MetadataChange;

/// What stands for values that the reader may not see, as upstream writes it.
pub const HIDDEN: &str = "[PRIVATE DATA HIDDEN]";

/// The request that an app is made by.
pub(super) fn creation(new: &NewApp) -> Value {
    let mut request = Map::from_iter([("name".to_owned(), json!(new.name))]);
    add_lifecycle(&mut request, &new.lifecycle);
    let metadata = &new.metadata;
    if !metadata.labels.is_empty() || !metadata.annotations.is_empty() {
        request.insert("metadata".to_owned(), json!(metadata));
    }
    if !new.environment.is_empty() {
        request.insert("environment_variables".to_owned(), HIDDEN.into());
    }
    Value::Object(request)
}

/// The request that an app is changed by.
pub(super) fn update(change: &AppChange) -> Value {
    let mut request = Map::new();
    if let Some(name) = &change.name {
        request.insert("name".to_owned(), json!(name));
    }
    add_lifecycle(&mut request, &change.lifecycle);
    if let Some(metadata) = metadata(&change.metadata) {
        request.insert("metadata".to_owned(), metadata);
    }
    Value::Object(request)
}

/// The labels and annotations that a request sets or, with null, removes.
pub(crate) fn metadata(change: &MetadataChange) -> Option<Value> {
    let object = |pairs: &[(String, Option<String>)]| -> Map<String, Value> {
        pairs.iter().map(|(key, value)| (key.clone(), json!(value))).collect()
    };
    let parts = [("labels", object(&change.labels)), ("annotations", object(&change.annotations))];
    let parts = parts.into_iter().filter(|(_, values)| !values.is_empty());
    let parts: Map<String, Value> =
        parts.map(|(name, values)| (name.to_owned(), Value::Object(values))).collect();
    (!parts.is_empty()).then_some(Value::Object(parts))
}

/// How an app differs from what it was. Of its variables the names alone.
pub(crate) fn changed(before: &App, after: &App) -> Map<String, Value> {
    let mut changed = difference(&settings(before), &settings(after));
    if let Some(names) = environment_difference(&before.environment, &after.environment) {
        changed.insert("environment".to_owned(), names);
    }
    changed
}

/// The data of an event for a request and what it changed.
pub(crate) fn data(request: Value, changed: Map<String, Value>) -> Value {
    let mut data = json!({ "request": request });
    if !changed.is_empty() {
        data[CHANGED] = Value::Object(changed);
    }
    data
}

/// Adds the commit that something was made from, and whether it is said to repair something.
pub(crate) fn add_source(data: &mut Value, source: &Metadata) {
    if let Some(commit) = Commit::of(source) {
        data["commit"] = json!(commit);
    }
    if is_rework(source) {
        data["rework"] = true.into();
    }
}

fn settings(app: &App) -> Value {
    let lifecycle = &app.lifecycle;
    let buildpacks: Vec<String> =
        lifecycle.buildpacks.iter().map(|one| without_login(one)).collect();
    let mut settings = Map::from_iter([
        ("name".to_owned(), json!(app.name)),
        ("buildpacks".to_owned(), json!(buildpacks)),
        ("stack".to_owned(), json!(lifecycle.stack)),
        ("ssh_enabled".to_owned(), json!(app.ssh_enabled)),
        ("revisions_enabled".to_owned(), json!(app.revisions_enabled)),
    ]);
    for feature in [AppFeature::ServiceBindingK8s, AppFeature::FileBasedVcapServices] {
        if feature.is_enabled(app) {
            settings.insert(format!("feature {}", feature.name()), json!(true));
        }
    }
    let metadata = &app.metadata;
    let labels = metadata.labels.iter().map(|(key, value)| (format!("label {key}"), json!(value)));
    settings.extend(labels);
    let annotations = metadata.annotations.iter();
    settings.extend(annotations.map(|(key, value)| (format!("annotation {key}"), json!(value))));
    Value::Object(settings)
}

fn add_lifecycle(request: &mut Map<String, Value>, change: &LifecycleChange) {
    let mut data = Map::new();
    if let Some(buildpacks) = &change.buildpacks {
        let buildpacks: Vec<String> = buildpacks.iter().map(|one| without_login(one)).collect();
        data.insert("buildpacks".to_owned(), json!(buildpacks));
    }
    if let Some(stack) = &change.stack {
        data.insert("stack".to_owned(), json!(stack));
    }
    if !data.is_empty() {
        let kind = change.kind.as_deref().unwrap_or("buildpack");
        request.insert("lifecycle".to_owned(), json!({ "type": kind, "data": data }));
    }
}
