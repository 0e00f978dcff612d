//! The commit that a resource names in its metadata.

use serde_json::Value;

/// As in `0123456789ab dirty`; empty where nobody has said it.
pub(crate) fn short(resource: &Value) -> String {
    let Some(id) = told(resource, "commit") else { return String::new() };
    let id: String = id.chars().take(12).collect();
    if told(resource, "dirty") == Some("true") { format!("{id} dirty") } else { id }
}

/// All that is said of it, on one line. None: nothing is.
pub(crate) fn long(resource: &Value) -> Option<String> {
    let mut words = told(resource, "commit")?.to_owned();
    if told(resource, "dirty") == Some("true") {
        words.push_str(" (dirty)");
    }
    for (key, before) in [("branch", "branch "), ("committed-at", ""), ("repository", "")] {
        if let Some(value) = told(resource, key) {
            words.push_str(&format!(", {before}{value}"));
        }
    }
    Some(words)
}

/// Annotations may say it, or labels.
fn told<'a>(resource: &'a Value, key: &str) -> Option<&'a str> {
    let key = format!("cupola.dev/{key}");
    let metadata = &resource["metadata"];
    metadata["annotations"][&key].as_str().or_else(|| metadata["labels"][&key].as_str())
}
