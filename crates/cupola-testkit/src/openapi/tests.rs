//! The checker against the examples of the contract itself.

use serde_json::json;

use super::*;

const GUID: &str = "123e4567-e89b-12d3-a456-426614174000";

fn ok(body: &Value) -> Answer<'_> {
    Answer {
        status: 200,
        content_type: Some("application/json; charset=utf-8"),
        body: Some(body),
        ..Answer::default()
    }
}

/// The contract's own example of a response.
fn example(path: &str, method: &str, status: &str) -> Value {
    let response = &Contract::load().document["paths"][path][method]["responses"][status];
    let examples = response["content"]["application/json"]["examples"].as_object().unwrap();
    examples.values().next().unwrap()["value"].clone()
}

fn check_app(body: &Value) -> Vec<String> {
    let checked =
        Contract::load().check("GET", &format!("/v3/apps/{GUID}?include=space"), &ok(body));
    checked.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn example_of_the_contract_is_accepted() {
    assert_eq!(check_app(&example("/v3/apps/{guid}", "get", "200")), [""; 0]);
}

#[test]
fn wrong_type_deep_in_the_body_is_found_through_references() {
    let mut app = example("/v3/apps/{guid}", "get", "200");
    app["links"]["self"]["href"] = json!(7);

    let found = check_app(&app);

    assert_eq!(found, [r#"GET /v3/apps/{guid}: /links/self/href: 7 is not of type "string""#]);
}

#[test]
fn wrong_state_and_time_are_found() {
    let mut app = example("/v3/apps/{guid}", "get", "200");
    app["state"] = json!("RUNNING");
    app["created_at"] = json!("yesterday");

    let found = check_app(&app).join("\n");

    assert!(found.contains(r#"/state: "RUNNING" is not one of"#), "{found}");
    assert!(found.contains(r#"/created_at: "yesterday" is not a "date-time""#), "{found}");
}

#[test]
fn unknown_path_method_and_status_are_violations() {
    let body = json!({ "errors": [] });
    let pointer = |method: &str, path: &str, status: u16| {
        let answer = Answer { status, ..ok(&body) };
        Contract::load().check(method, path, &answer).unwrap_err()[0].pointer.clone()
    };

    assert_eq!(pointer("GET", "/v3/pods", 200), "path");
    assert_eq!(pointer("PUT", "/v3/apps", 200), "method");
    assert_eq!(pointer("GET", "/v3/apps", 201), "status 201");
    assert_eq!(pointer("GET", "/v3/apps", 418), "status 418");
}

#[test]
fn error_that_is_excused_for_its_status_must_still_be_an_error() {
    let contract = Contract::load();
    let good =
        json!({ "errors": [{ "code": 10005, "title": "CF-BadQueryParameter", "detail": "x" }] });
    let bad = json!({ "errors": [{ "code": "10005" }] });
    let path = format!("/v3/builds/{GUID}");
    let answer = |body| Answer { status: 400, ..ok(body) };

    assert_eq!(contract.check("GET", &path, &answer(&good)), Ok(()));
    let found = contract.check("GET", &path, &answer(&bad)).unwrap_err();
    assert_eq!(found[0].pointer, "/errors/0/code");
}

#[test]
fn accepted_deletion_has_a_location_and_no_body() {
    let contract = Contract::load();
    let path = format!("/v3/apps/{GUID}");
    let job = format!("https://api.example.org/v3/jobs/{GUID}");
    let good = Answer { status: 202, location: Some(&job), ..Answer::default() };

    assert_eq!(contract.check("DELETE", &path, &good), Ok(()));
    let body = json!({});
    let bad = Answer { location: Some("/v3/jobs/1"), body: Some(&body), ..good };
    let found = contract.check("DELETE", &path, &bad).unwrap_err();
    let pointers: Vec<_> = found.iter().map(|violation| violation.pointer.as_str()).collect();
    assert_eq!(pointers, ["header location", "body"]);
}

#[test]
fn wrong_or_missing_content_type_is_a_violation() {
    let app = example("/v3/apps/{guid}", "get", "200");
    let answer = Answer { content_type: Some("text/plain"), ..ok(&app) };

    let found = Contract::load().check("GET", &format!("/v3/apps/{GUID}"), &answer).unwrap_err();

    assert_eq!(found[0].message, "the content type is `text/plain` and not application/json");
}

#[test]
fn exception_excuses_only_its_operation_and_pointer() {
    let exception = Exception {
        operation: "GET /v3/apps/{guid}",
        pointer: "/resources/*/name",
        message: "null ",
        reason: "",
        source: "",
    };
    let found = |operation: &str, pointer: &str| {
        exception.excuses(&violation(operation, pointer, "null is no string"))
    };

    assert!(found("GET /v3/apps/{guid}", "/resources/3/name"));
    assert!(found("GET /v3/apps/1", "/resources/3/name"));
    assert!(!found("PUT /v3/apps/1", "/resources/3/name"));
    assert!(!found("GET /v3/apps", "/resources/3/name"));
    assert!(!found("GET /v3/apps/1", "/resources/3"));
    let other = violation("GET /v3/apps/1", "/resources/3/name", "7 is no string");
    assert!(!exception.excuses(&other));
}

/// A check of the checker: what the contract shows is what it says.
#[test]
fn all_examples_of_the_contract_fit_their_own_schemas_or_an_exception() {
    let contract = Contract::load();

    let examples = examples(&contract.document);
    let bad: Vec<_> = examples
        .iter()
        .filter_map(|(path, method, status, value)| {
            let answer = Answer { status: *status, location: Some("https://x"), ..ok(value) };
            contract.check(&method.to_uppercase(), path, &answer).err()
        })
        .flatten()
        .map(|violation| violation.to_string())
        .collect();

    assert_eq!(examples.len(), 130);
    assert_eq!(bad, [""; 0]);
}

fn examples(document: &Value) -> Vec<(String, String, u16, Value)> {
    let mut examples = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation.get("responses").and_then(Value::as_object);
            for (status, response) in responses.into_iter().flatten() {
                let shown = &response["content"]["application/json"]["examples"];
                for example in shown.as_object().into_iter().flat_map(|shown| shown.values()) {
                    let status = status.parse().unwrap();
                    examples.push((path.clone(), method.clone(), status, example["value"].clone()));
                }
            }
        }
    }
    examples
}
