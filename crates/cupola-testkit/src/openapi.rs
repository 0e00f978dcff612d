//! Checks responses against the contract of the Cloud Foundry v3 API, so that a test notices where
//! Cupola says something that clients do not expect.
//!
//! The contract is the vendored `data/cf-v3.openapi.yaml`. Where it disagrees with the source of
//! the `cf` CLI, the CLI wins: `exceptions` lists those places. The root documents, UAA, log-cache
//! and Cupola's own resources are outside of it; do not ask about them.

mod exceptions;
mod paths;
mod schemas;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jsonschema::Validator;
use serde_json::Value;

pub use self::exceptions::{EXCEPTIONS, Exception};
use self::paths::PathTemplate;

const CONTRACT_JSON: &str = include_str!(concat!(env!("OUT_DIR"), "/cf-v3.openapi.json"));

/// A response, as far as the contract speaks of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    pub status: u16,
    pub content_type: Option<&'a str>,
    pub location: Option<&'a str>,
    /// `None` if there is no body, or it is not JSON.
    pub body: Option<&'a Value>,
}

/// One thing that is not as the contract says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Method and path template, as in `GET /v3/apps/{guid}`.
    pub operation: String,
    /// A JSON pointer into the body, or `path`, `method`, `status 404`, `header location`, `body`.
    pub pointer: String,
    pub message: String,
}

/// The contract, with the validators that were needed so far.
pub struct Contract {
    document: Value,
    templates: Vec<PathTemplate>,
    exceptions: &'static [Exception],
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    /// The contract of this build, read once per process.
    pub fn load() -> &'static Self {
        static CONTRACT: OnceLock<Contract> = OnceLock::new();
        CONTRACT.get_or_init(|| {
            let document =
                serde_json::from_str(CONTRACT_JSON).expect("the build script wrote it as JSON");
            Self::new(document, EXCEPTIONS)
        })
    }

    fn new(document: Value, exceptions: &'static [Exception]) -> Self {
        let templates = document["paths"].as_object().into_iter().flat_map(|paths| paths.keys());
        let templates = templates.map(|path| PathTemplate::new(path)).collect();
        Self { document, templates, exceptions, validators: Mutex::default() }
    }

    /// Method and path template of every operation, as in `("GET", "/v3/apps/{guid}")`.
    pub fn operations(&self) -> Vec<(String, String)> {
        const METHODS: [&str; 5] = ["delete", "get", "patch", "post", "put"];
        let paths = self.document["paths"].as_object().into_iter().flatten();
        let of_path = |(path, methods): (&String, &Value)| {
            let path = path.clone();
            let known = METHODS.into_iter().filter(|method| methods.get(method).is_some());
            known.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        };
        paths.flat_map(of_path).collect()
    }

    /// Checks the response to a request. The path may carry a query.
    pub fn check(
        &self,
        method: &str,
        path: &str,
        answer: &Answer<'_>,
    ) -> Result<(), Vec<Violation>> {
        let mut violations = self.violations(method, path, answer);
        violations.retain(|violation| {
            !self.exceptions.iter().any(|exception| exception.excuses(violation))
        });
        if violations.is_empty() { Ok(()) } else { Err(violations) }
    }

    fn violations(&self, method: &str, path: &str, answer: &Answer<'_>) -> Vec<Violation> {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let Some(template) = paths::best_match(&self.templates, path) else {
            let operation = format!("{method} {path}");
            return vec![violation(&operation, "path", "the contract has no such path")];
        };
        let operation = format!("{method} {}", template.text());
        let methods = &self.document["paths"][template.text()];
        let Some(described) = methods.get(method.to_ascii_lowercase()) else {
            return vec![violation(&operation, "method", "the path has no such method")];
        };
        self.check_status(&operation, &described["responses"], answer)
    }

    fn check_status(
        &self,
        operation: &str,
        responses: &Value,
        answer: &Answer<'_>,
    ) -> Vec<Violation> {
        let status = answer.status;
        let class = format!("{}XX", status / 100);
        let described = responses
            .get(status.to_string())
            .or_else(|| responses.get(&class))
            .or_else(|| responses.get("default"));
        match described {
            Some(response) => {
                self.check_response(operation, schemas::resolve(&self.document, response), answer)
            }
            None => {
                let pointer = format!("status {status}");
                let message = format!("the operation is not described as answering {status}");
                let mut violations = vec![violation(operation, &pointer, &message)];
                if status >= 400 {
                    let errors = &self.document["components"]["responses"]["UnprocessableEntity"];
                    violations.extend(self.check_response(operation, errors, answer));
                }
                violations
            }
        }
    }

    fn check_response(
        &self,
        operation: &str,
        response: &Value,
        answer: &Answer<'_>,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        if wants_location(response) && !answer.location.is_some_and(|to| to.starts_with("http")) {
            let message = match answer.location {
                Some(found) => format!("the location `{found}` is not an absolute URL"),
                None => "the response has no location".to_owned(),
            };
            violations.push(violation(operation, "header location", &message));
        }
        match response.get("content").and_then(Value::as_object) {
            Some(content) => violations.extend(self.check_content(operation, content, answer)),
            None => violations.extend(check_no_content(operation, answer)),
        }
        violations
    }

    fn check_content(
        &self,
        operation: &str,
        content: &serde_json::Map<String, Value>,
        answer: &Answer<'_>,
    ) -> Vec<Violation> {
        let found = answer.content_type.unwrap_or_default();
        let media = found.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let Some(described) = content.get(&media) else {
            let wanted = content.keys().cloned().collect::<Vec<_>>().join(" or ");
            let message = format!("the content type is `{found}` and not {wanted}");
            return vec![violation(operation, "header content-type", &message)];
        };
        if media != "application/json" {
            return Vec::new();
        }
        let Some(body) = answer.body else {
            return vec![violation(operation, "body", "the response has no JSON body")];
        };
        let validator = self.validator(&described["schema"]);
        validator
            .iter_errors(body)
            .map(|error| violation(operation, error.instance_path.as_str(), &error.to_string()))
            .collect()
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let key = schema.to_string();
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators
            .entry(key)
            .or_insert_with(|| Arc::new(schemas::compile(&self.document, schema)));
        Arc::clone(validator)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{}: {pointer}: {}", self.operation, self.message)
    }
}

fn violation(operation: &str, pointer: &str, message: &str) -> Violation {
    Violation {
        operation: operation.to_owned(),
        pointer: pointer.to_owned(),
        message: message.to_owned(),
    }
}

fn wants_location(response: &Value) -> bool {
    let headers = response.get("headers").and_then(Value::as_object);
    headers.is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case("location")))
}

/// A success with 200 or 201 that has no description says nothing about its body.
fn check_no_content(operation: &str, answer: &Answer<'_>) -> Option<Violation> {
    let is_silent = matches!(answer.status, 200 | 201);
    (answer.body.is_some() && !is_silent)
        .then(|| violation(operation, "body", "the response should have no body"))
}

#[cfg(test)]
mod tests;
