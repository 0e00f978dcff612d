//! Errors as UAA writes them.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cupola_control::{ControlError, identity::LoginError};
use serde_json::json;

use crate::error::ApiFailure;

/// A failed request: status, and the error of UAA.
#[derive(Debug)]
pub(crate) struct UaaFailure {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl UaaFailure {
    pub(super) fn new(
        status: StatusCode,
        error: &'static str,
        description: impl Into<String>,
    ) -> Self {
        Self { status, error, description: description.into() }
    }

    pub(super) fn bad_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// A missing or bad token.
    pub(super) fn of_token(failure: ApiFailure) -> Self {
        match failure.status {
            StatusCode::UNAUTHORIZED if failure.title == "CF-InvalidAuthToken" => {
                Self::new(failure.status, "invalid_token", failure.detail)
            }
            StatusCode::UNAUTHORIZED => {
                let text = "Full authentication is required to access this resource";
                Self::new(failure.status, "unauthorized", text)
            }
            status => Self::new(status, "server_error", failure.detail),
        }
    }
}

impl From<ControlError> for UaaFailure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotAuthorized => Self::new(
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "Insufficient scope for this resource",
            ),
            ControlError::NameTaken { detail } => {
                Self::new(StatusCode::CONFLICT, "scim_resource_already_exists", detail)
            }
            ControlError::NotFound { noun } => {
                let text = format!("{noun} does not exist");
                Self::new(StatusCode::NOT_FOUND, "scim_resource_not_found", text)
            }
            ControlError::Unprocessable(detail) => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_scim_resource", detail)
            }
            other => {
                let ApiFailure { status, detail, .. } = other.into();
                Self::new(status, "server_error", detail)
            }
        }
    }
}

impl From<LoginError> for UaaFailure {
    fn from(error: LoginError) -> Self {
        let text = error.to_string();
        match error {
            LoginError::BadCredentials | LoginError::Locked | LoginError::WrongOldPassword => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", text)
            }
            LoginError::BadRefreshToken => {
                Self::new(StatusCode::UNAUTHORIZED, "invalid_token", text)
            }
            LoginError::BadPassword(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_password", text)
            }
            LoginError::Control(error) => error.into(),
        }
    }
}

impl IntoResponse for UaaFailure {
    fn into_response(self) -> Response {
        let Self { status, error, description } = self;
        let body = json!({
            "error": error,
            "error_description": description,
            "message": description,
        });
        (status, Json(body)).into_response()
    }
}
