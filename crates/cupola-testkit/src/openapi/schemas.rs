//! Makes validators out of the schemas of the contract.

use std::collections::BTreeSet;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

const SCHEMAS: &str = "#/components/schemas/";

/// What a reference of the document points at; the value itself if it is none.
pub(super) fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    let reference = value.get("$ref").and_then(Value::as_str);
    reference.and_then(|to| document.pointer(to.strip_prefix('#')?)).unwrap_or(value)
}

/// Compiles a schema together with the named schemas that it needs, and no more: compiling them
/// all for each response would take most of the time of a test.
pub(super) fn compile(document: &Value, schema: &Value) -> Validator {
    let all = &document["components"]["schemas"];
    let mut needed = BTreeSet::new();
    collect_names(all, schema, &mut needed);
    let needed: Map<String, Value> =
        needed.into_iter().map(|name| (name.to_owned(), all[name].clone())).collect();

    let root = json!({ "allOf": [schema], "components": { "schemas": needed } });
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .build(&root)
        .expect("the schemas of the contract are valid")
}

fn collect_names<'d>(all: &'d Value, schema: &'d Value, names: &mut BTreeSet<&'d str>) {
    match schema {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            let name = reference
                .and_then(|to| to.strip_prefix(SCHEMAS))
                .map(|rest| rest.split('/').next().unwrap_or(rest));
            if let Some(name) = name
                && names.insert(name)
            {
                collect_names(all, &all[name], names);
            }
            members.values().for_each(|member| collect_names(all, member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(all, item, names)),
        _ => {}
    }
}
