//! Manifests as text: read into plain values, and written.

mod bounded;

use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;

use crate::ControlError;

/// The applications of a manifest, each a map.
pub(super) fn applications(text: &str) -> Result<Vec<Map<String, Value>>, ControlError> {
    if uses_anchors(text) {
        let detail = "Manifest does not support Anchors and Aliases";
        return Err(ControlError::Refused(detail.to_owned()));
    }
    let document = bounded::read(text).map_err(|error| {
        let detail =
            format!("Request invalid due to parse error: the manifest cannot be read: {error}");
        ControlError::BadRequest(detail)
    })?;
    let invalid = |detail: &str| ControlError::Unprocessable(detail.to_owned());
    let Value::Object(mut document) = document else {
        return Err(invalid("Manifest must be a map with the key 'applications'"));
    };
    if document.get("version").is_some_and(|version| version.as_i64() != Some(1)) {
        return Err(invalid("Manifest version must be 1"));
    }
    let Some(Value::Array(applications)) = document.remove("applications") else {
        return Err(invalid("Manifest must have a list 'applications'"));
    };
    if applications.is_empty() {
        return Err(invalid("Manifest must have at least one application"));
    }
    let maps = applications.into_iter().enumerate().map(|(index, application)| match application {
        Value::Object(map) => Ok(map),
        _ => Err(invalid(&format!("For application at index {index}: it must be a map"))),
    });
    maps.collect()
}

/// A manifest of one application.
pub(super) fn write(application: serde_yaml_ng::Mapping) -> Result<String, ControlError> {
    let mut document = serde_yaml_ng::Mapping::new();
    document.insert("applications".into(), Yaml::Sequence(vec![Yaml::Mapping(application)]));
    let body = serde_yaml_ng::to_string(&document).map_err(|source| ControlError::Outside {
        action: "writing a manifest",
        source: Box::new(source),
    })?;
    Ok(format!("---\n{body}"))
}

/// The same value with text as keys.
pub(super) fn to_json(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => number_to_json(&number),
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => items.into_iter().map(to_json).collect(),
        Yaml::Mapping(mapping) => {
            let pairs =
                mapping.into_iter().map(|(key, value)| (to_text(&to_json(key)), to_json(value)));
            Value::Object(pairs.collect())
        }
        Yaml::Tagged(tagged) => to_json(tagged.value),
    }
}

/// A value as the text that an environment variable gets.
pub(super) fn to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn number_to_json(number: &serde_yaml_ng::Number) -> Value {
    if let Some(number) = number.as_i64() {
        number.into()
    } else if let Some(number) = number.as_u64() {
        number.into()
    } else {
        number.as_f64().map_or(Value::Null, Into::into)
    }
}

/// Whether a node begins with an anchor or an alias, as far as lines tell. The parser resolves them
/// silently, and upstream refuses them. This is for its message: what keeps a few lines of them
/// from standing for gigabytes is the bound on what is read.
fn uses_anchors(text: &str) -> bool {
    let mut block_indent: Option<usize> = None;
    for line in text.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(block) = block_indent {
            if content.is_empty() || indent > block {
                continue;
            }
            block_indent = None;
        }
        if content.starts_with('#') {
            continue;
        }
        if line_values(content).any(begins_with_anchor) {
            return true;
        }
        if begins_block(content) {
            block_indent = Some(indent);
        }
    }
    false
}

/// The places of a line where a node may begin: after dashes, after the colon of a key, and in
/// flow collections.
fn line_values(content: &str) -> impl Iterator<Item = &str> {
    let mut rest = content;
    let mut starts = Vec::new();
    while let Some(next) = rest.strip_prefix("- ") {
        rest = next.trim_start();
    }
    starts.push(rest);
    if !rest.starts_with(['"', '\'']) || rest.contains(": ") {
        if let Some((_, value)) = rest.split_once(": ") {
            let value = value.trim_start();
            starts.push(value);
            if value.starts_with(['[', '{']) {
                starts.extend(value.split(['[', '{', ',', ':']).map(str::trim_start));
            }
        }
        if rest.starts_with(['[', '{']) {
            starts.extend(rest.split(['[', '{', ',', ':']).map(str::trim_start));
        }
    }
    starts.into_iter()
}

fn begins_with_anchor(node: &str) -> bool {
    let mut characters = node.chars();
    matches!(characters.next(), Some('&' | '*'))
        && characters.next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Whether the lines below are one text.
fn begins_block(content: &str) -> bool {
    let value = content.rsplit_once(": ").or_else(|| content.rsplit_once("- "));
    let value = value.map_or("", |(_, value)| value.trim_end());
    value.starts_with(['|', '>'])
        && value[1..].chars().all(|c| c == '+' || c == '-' || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_aliases_are_seen_wherever_a_node_begins() {
        assert!(uses_anchors("a: &x 1"));
        assert!(uses_anchors("- *x"));
        assert!(uses_anchors("a:\n  <<: *defaults"));
        assert!(uses_anchors("a: [1, *x]"));
        assert!(uses_anchors("&x a: 1"));
    }

    #[test]
    fn ampersands_and_stars_in_texts_are_no_anchors() {
        assert!(!uses_anchors("command: ./run & wait"));
        assert!(!uses_anchors("route: '*.example.com'"));
        assert!(!uses_anchors("command: |\n  &background\n  - *x"));
        assert!(!uses_anchors("# see: *this"));
        assert!(!uses_anchors("url: \"http://a/?b&c\""));
    }

    #[test]
    fn manifest_without_applications_is_refused() {
        assert!(applications("---\n").is_err());
        assert!(applications("applications: []").is_err());
        assert!(applications("applications:\n- name").is_err());
        assert!(applications("applications: [").is_err());
    }

    /// Each list holds the one before it a hundred times, written so that no line tells.
    fn bomb(second_anchor: &str) -> String {
        let many = |item: &str| vec![item; 100].join(",");
        let (texts, lists) = (many("x"), many("*a"));
        format!(
            "applications: [\n x,&a [{texts},\n x,x],\n x,{second_anchor} [{lists},\n x],\n \
             x,{},\n x]",
            many("*b")
        )
    }

    #[test]
    fn aliases_that_no_line_tells_are_not_followed_without_end() {
        for anchor in ["&b", "!t &b"] {
            let text = bomb(anchor);
            assert!(!uses_anchors(&text), "the bound is what this is about");

            let error = applications(&text).unwrap_err().to_string();

            assert!(error.contains("100000 values"), "{error}");
        }
    }

    #[test]
    fn one_long_text_is_not_copied_without_end() {
        let text = format!(
            "applications: [\n x,&a {},\n x,{},\n x]",
            "y".repeat(100_000),
            vec!["*a"; 1000].join(",")
        );
        assert!(!uses_anchors(&text), "the bound is what this is about");

        let error = applications(&text).unwrap_err().to_string();

        assert!(error.contains("MiB of text"), "{error}");
    }
}
