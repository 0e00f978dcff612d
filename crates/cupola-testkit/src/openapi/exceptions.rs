//! Where the contract is wrong or silent, and what says so.
//!
//! Invariant: each entry has a source that can be looked up: the `cf` CLI, or the contract itself
//! where it contradicts itself.

use super::{Violation, paths};

/// Something that the contract does not allow and that is right all the same.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// `GET /v3/apps/{guid}`; a parameter stands for any segment. `*` stands for any operation.
    pub operation: &'static str,
    /// As in `Violation`. In a JSON pointer the segment `*` stands for any segment.
    pub pointer: &'static str,
    /// What the message begins with.
    pub message: &'static str,
    pub reason: &'static str,
    pub source: &'static str,
}

/// The status of an error does not depend on the operation.
const ANY_OPERATION: &str = "cf CLI 8.18.3, api/cloudcontroller/ccv3/errors.go: convert400 and \
                             convert500 know this status for every request";

const NULL_IS_NO_OBJECT: &str = r#"null is not of type "object""#;

const TO_NOTHING: &str = "the contract itself: RelationshipToOne allows null and then refers to a \
                          schema that does not, and the examples of POST /v3/roles and GET \
                          /v3/spaces show null; cf CLI 8.18.3, \
                          resources/relationship_resource.go writes null for an empty GUID";

/// All of them, for everybody who wants to see what is not checked.
pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        operation: "*",
        pointer: "status 400",
        message: "",
        reason: "unknown query parameters and unreadable bodies are refused everywhere",
        source: ANY_OPERATION,
    },
    Exception {
        operation: "*",
        pointer: "status 401",
        message: "",
        reason: "every operation below /v3 wants a valid token",
        source: ANY_OPERATION,
    },
    Exception {
        operation: "*",
        pointer: "status 500",
        message: "",
        reason: "every operation may fail",
        source: ANY_OPERATION,
    },
    Exception {
        operation: "*",
        pointer: "status 503",
        message: "",
        reason: "every operation may be refused while the platform is not ready",
        source: ANY_OPERATION,
    },
    Exception {
        operation: "GET /v3/service_credential_bindings/{guid}/parameters",
        pointer: "status 502",
        message: "",
        reason: "nobody can be asked for the parameters of a binding to what users provide",
        source: "cloud_controller_ng, app/controllers/v3/service_credential_bindings_controller.rb: \
                 `parameters` answers 502 where the service does not support fetching them",
    },
    Exception {
        operation: "POST /v3/spaces/{guid}/manifest_diff",
        pointer: "header location",
        message: "",
        reason: "the difference is the body: there is no job that would make it",
        source: "cf CLI 8.18.3, api/cloudcontroller/ccv3/manifest.go: GetSpaceManifestDiff reads \
                 the body and looks at no header",
    },
    Exception {
        operation: "*",
        pointer: "/relationships/*/data",
        message: NULL_IS_NO_OBJECT,
        reason: "a relationship to nothing has null as its data",
        source: TO_NOTHING,
    },
    Exception {
        operation: "*",
        pointer: "/resources/*/relationships/*/data",
        message: NULL_IS_NO_OBJECT,
        reason: "a relationship to nothing has null as its data",
        source: TO_NOTHING,
    },
    Exception {
        operation: "*",
        pointer: "/included/*/*/relationships/*/data",
        message: NULL_IS_NO_OBJECT,
        reason: "a relationship to nothing has null as its data",
        source: TO_NOTHING,
    },
    Exception {
        operation: "GET /v3/organizations/{guid}/relationships/default_isolation_segment",
        pointer: "/data",
        message: NULL_IS_NO_OBJECT,
        reason: "an organisation without isolation segment has null as its data",
        source: TO_NOTHING,
    },
    Exception {
        operation: "PATCH /v3/organizations/{guid}/relationships/default_isolation_segment",
        pointer: "/data",
        message: NULL_IS_NO_OBJECT,
        reason: "an organisation without isolation segment has null as its data",
        source: TO_NOTHING,
    },
    Exception {
        operation: "GET /v3/spaces/{guid}/relationships/isolation_segment",
        pointer: "/data",
        message: NULL_IS_NO_OBJECT,
        reason: "a space without isolation segment has null as its data",
        source: TO_NOTHING,
    },
    Exception {
        operation: "DELETE /v3/droplets/{guid}",
        pointer: "header content-type",
        message: "the content type is ``",
        reason: "202 has a location and no body, as every other deletion",
        source: "the contract itself: the 202 of DELETE /v3/packages/{guid}, /v3/apps/{guid} and \
                 /v3/routes/{guid} has no content",
    },
    Exception {
        operation: "PATCH /v3/spaces/{guid}/relationships/isolation_segment",
        pointer: "/data",
        message: NULL_IS_NO_OBJECT,
        reason: "a space without isolation segment has null as its data",
        source: TO_NOTHING,
    },
];

impl Exception {
    pub(super) fn excuses(&self, violation: &Violation) -> bool {
        self.is_about(&violation.operation)
            && is_pointer_of(self.pointer, &violation.pointer)
            && violation.message.starts_with(self.message)
    }

    fn is_about(&self, operation: &str) -> bool {
        if self.operation == "*" {
            return true;
        }
        match (self.operation.split_once(' '), operation.split_once(' ')) {
            (Some((method, template)), Some((found_method, path))) => {
                method == found_method && paths::is_of_template(template, path)
            }
            _ => false,
        }
    }
}

fn is_pointer_of(pattern: &str, pointer: &str) -> bool {
    let (pattern, pointer): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), pointer.split('/').collect());
    pattern.len() == pointer.len()
        && pattern.iter().zip(pointer).all(|(wanted, found)| *wanted == "*" || *wanted == found)
}
