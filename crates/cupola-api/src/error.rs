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
