//! `/v3/jobs`, and the answer of operations that go on in one.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_domain::{
    ids::JobId,
    jobs::{Job, JobState},
};
use cupola_wire::jobs::{JobBody, JobError, JobWarning};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
};

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v3/jobs/{guid}", get(show))
}

async fn show(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    Id(id): Id<JobId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.job(id).await?;
    let body = JobBody {
        guid: job.id.to_string(),
        operation: job.operation.clone(),
        state: job_state(job.state).to_owned(),
        errors: job
            .errors
            .iter()
            .map(|e| JobError { code: e.code, title: e.title.clone(), detail: e.detail.clone() })
            .collect(),
        warnings: job.warnings.iter().cloned().map(|detail| JobWarning { detail }).collect(),
        created_at: job.created_at.rfc3339(),
        updated_at: job.updated_at.rfc3339(),
        links: api.links([("self", format!("/v3/jobs/{}", job.id))]),
    };
    Ok(Json(body).into_response())
}

/// 202 with the job's address, which the client polls.
pub(crate) fn accepted(api: &Api, job: &Job) -> Response {
    let href = format!("{}/v3/jobs/{}", api.control.settings().external_url, job.id);
    let location = HeaderValue::from_str(&href).expect("the external URL was checked at start");
    (StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response()
}

const fn job_state(state: JobState) -> &'static str {
    match state {
        JobState::Processing => "PROCESSING",
        JobState::Polling => "POLLING",
        JobState::Complete => "COMPLETE",
        JobState::Failed => "FAILED",
    }
}
