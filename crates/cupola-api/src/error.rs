//! The one table from what went wrong to what the client sees.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cupola_control::ControlError;
use serde_json::json;

/// A failed request: status, and the error of the v3 API.
#[derive(Debug)]
pub struct ApiFailure {
    pub status: StatusCode,
    pub code: u32,
    pub title: &'static str,
    pub detail: String,
}

impl From<ControlError> for ApiFailure {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::NotAuthenticated { .. } | ControlError::InvalidToken => {
                StatusCode::UNAUTHORIZED
            }
            ControlError::NotAuthorized | ControlError::FeatureDisabled { .. } => {
                StatusCode::FORBIDDEN
            }
            ControlError::NotFound { .. } => StatusCode::NOT_FOUND,
            ControlError::BadQuery(_)
            | ControlError::BadRequest(_)
            | ControlError::Refused(_)
            | ControlError::BitsUploadedAlready => StatusCode::BAD_REQUEST,
            ControlError::Unprocessable(_) | ControlError::NameTaken { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ControlError::Conflict(_) => StatusCode::CONFLICT,
            ControlError::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            ControlError::Store(_) | ControlError::Outside { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let (code, title) = error.code_and_title();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = &error as &dyn std::error::Error, "request failed: {error}");
        }
        Self { status, code, title, detail: error.to_string() }
    }
}

impl IntoResponse for ApiFailure {
    fn into_response(self) -> Response {
        let Self { status, code, title, detail } = self;
        let body = json!({ "errors": [{ "code": code, "title": title, "detail": detail }] });
        (status, Json(body)).into_response()
    }
}

/// The `cf` CLI recognises an API that lacks an operation by this very detail.
pub(crate) async fn unknown_request() -> ApiFailure {
    ApiFailure {
        status: StatusCode::NOT_FOUND,
        code: 10000,
        title: "CF-NotFound",
        detail: "Unknown request".to_owned(),
    }
}

/// Only a broker has parameters. The `cf` CLI recognises it by this very detail.
pub(crate) fn no_instance_parameters() -> ApiFailure {
    ApiFailure {
        status: StatusCode::BAD_REQUEST,
        code: 120_004,
        title: "CF-ServiceFetchInstanceParametersNotSupported",
        detail: "This service does not support fetching service instance parameters.".to_owned(),
    }
}

/// The same of a binding, with the status that upstream gives it.
pub(crate) fn no_binding_parameters() -> ApiFailure {
    ApiFailure {
        status: StatusCode::BAD_GATEWAY,
        code: 90_007,
        title: "CF-ServiceFetchBindingParametersNotSupported",
        detail: "This service does not support fetching service binding parameters.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, path::Path};

    use cupola_ports::store::StoreError;

    use super::*;

    const INTRODUCTION: &str = "\
# Errors of the v3 API

Written by a test of `cupola-api` from the table in `src/error.rs`; do not edit it by hand.
Code and title are Cloud Foundry's. The detail says what is wrong and what to do next.

| status | code | title | when, or an example of the detail |
| --- | --- | --- | --- |
";

    /// One error of every kind.
    fn every_kind() -> Vec<ApiFailure> {
        let text = |text: &str| text.to_owned();
        let outside = || ControlError::Outside {
            action: "reading the log",
            source: "the disk is gone".into(),
        };
        let errors = vec![
            ControlError::NotAuthenticated { detail: "Authentication error" },
            ControlError::InvalidToken,
            ControlError::NotAuthorized,
            ControlError::FeatureDisabled { flag: "user_org_creation", message: None },
            ControlError::NotFound { noun: "App" },
            ControlError::BadQuery(text("Unknown query parameter(s): 'colour'")),
            ControlError::BadRequest(text("Request invalid due to parse error")),
            ControlError::Refused(text("Cannot stage package whose state is not ready.")),
            ControlError::BitsUploadedAlready,
            ControlError::Unprocessable(text("Name can't be blank")),
            ControlError::NameTaken { detail: text("Organization 'acme' already exists.") },
            ControlError::Conflict(text("another operation on the same thing goes on")),
            ControlError::Busy(text("the platform has reached a limit; try again later")),
            ControlError::Store(StoreError::Database("the disk is full".into())),
            outside(),
        ];
        errors.into_iter().map(ApiFailure::from).collect()
    }

    #[tokio::test]
    async fn table_of_errors_in_the_documentation_is_the_one_in_the_code() {
        let mut failures = every_kind();
        failures.push(unknown_request().await);
        failures.extend([no_instance_parameters(), no_binding_parameters()]);
        failures.sort_by_key(|failure| (failure.status, failure.code));
        let mut table = INTRODUCTION.to_owned();
        for ApiFailure { status, code, title, detail } in failures {
            writeln!(table, "| {} | {code} | {title} | {detail} |", status.as_u16()).unwrap();
        }

        let file = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
            .join("../../docs/errors.md");
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        if written != table {
            std::fs::write(&file, &table).unwrap();
            panic!("docs/errors.md was out of date; it is written anew and wants to be committed");
        }
    }
}
