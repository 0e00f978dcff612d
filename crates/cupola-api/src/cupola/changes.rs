//! `/cupola/v1/apps/{guid}/changes`.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use cupola_control::{ControlError, changes::Change as DomainChange};
use cupola_domain::{commits::Commit, deployments::Deployment, ids::AppId, time::Timestamp};
use cupola_ports::store::{Condition, Direction};
use cupola_wire::changes::{Change, ChangeCommit, ChangeDeployment};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
    list::ListQuery,
};

pub(super) async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let since = since(&mut query)?;
    let query = match since {
        Some(since) => query.and(Condition::Greater("created_at", since.micros() - 1)),
        None => query,
    };
    let (request, presenter) =
        query.finish(&["created_at"], ("created_at", Direction::Descending))?;
    let page = api.control.changes(&caller, app, &request).await?;
    Ok(Json(presenter.present(&api, page, present)).into_response())
}

/// Reads the point in time that a client wants to know everything since.
pub(super) fn since(query: &mut ListQuery) -> Result<Option<Timestamp>, ControlError> {
    let Some(text) = query.take("since") else { return Ok(None) };
    Timestamp::from_rfc3339(&text).map(Some).ok_or_else(|| {
        let detail = format!("'{text}' is not a time such as 2030-01-31T23:59:59Z");
        ControlError::BadQuery(detail)
    })
}

fn present(change: DomainChange) -> Change {
    let event = change.event;
    Change {
        guid: event.id.to_string(),
        at: event.created_at.rfc3339(),
        who: event.actor.name,
        kind: change.told.kind.to_owned(),
        summary: change.told.summary,
        revision: event.data["revision_version"].as_u64(),
        commit: change.commit.map(commit),
        deployment: change.deployment.map(deployment),
        event: event.kind,
        details: event.data,
    }
}

fn commit(commit: Commit) -> ChangeCommit {
    ChangeCommit {
        id: commit.id,
        branch: commit.branch,
        dirty: commit.dirty,
        committed_at: commit.committed_at.map(Timestamp::rfc3339),
        repository: commit.repository,
    }
}

fn deployment(deployment: Deployment) -> ChangeDeployment {
    ChangeDeployment {
        state: deployment.state.name().to_owned(),
        since: deployment.state_changed_at.rfc3339(),
        error: deployment.error,
    }
}
