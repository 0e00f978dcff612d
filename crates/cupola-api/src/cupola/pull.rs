//! `/cupola/v1/apps/{guid}/pull`.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use cupola_control::{ControlError, ladders};
use cupola_domain::{
    ids::AppId,
    ladders::{Ladder, Rung},
    processes::Check,
};
use cupola_wire::ladders as wire;

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
};

pub(super) async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let ladders = api.control.ladders(&caller, id).await?;
    Ok(Json(present(&ladders)).into_response())
}

pub(super) async fn pull(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    Path((_, name)): Path<(String, String)>,
    Body(body): Body<wire::PullRung>,
) -> Result<Response, ApiFailure> {
    api.control.app(&caller, id).await?;
    let endpoint = body.endpoint.unwrap_or_else(|| "/".to_owned());
    let ladders = api.control.pull_rung(&caller, id, rung(&name)?, &endpoint).await?;
    Ok(Json(present(&ladders)).into_response())
}

pub(super) async fn put_back(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, ApiFailure> {
    api.control.app(&caller, id).await?;
    let ladders = api.control.put_rung_back(&caller, id, rung(&name)?).await?;
    Ok(Json(present(&ladders)).into_response())
}

fn rung(name: &str) -> Result<Rung, ControlError> {
    Rung::named(name).ok_or(ControlError::NotFound { noun: "Rung" })
}

fn present(ladders: &ladders::Ladders) -> wire::Ladders {
    let ladder = |ladder: Ladder| {
        let rungs = Rung::ALL.into_iter().filter(|rung| rung.ladder() == ladder);
        wire::Ladder {
            name: ladder.name().to_owned(),
            rungs: rungs.map(|rung| present_rung(ladders, rung)).collect(),
        }
    };
    wire::Ladders {
        app: ladders.app.name.clone(),
        rolling_by_default: ladders.app.pulled.rolling_by_default,
        ladders: Ladder::ALL.into_iter().map(ladder).collect(),
    }
}

fn present_rung(ladders: &ladders::Ladders, rung: Rung) -> wire::Rung {
    let sight = ladders.sight();
    let has = sight.has(rung);
    wire::Rung {
        name: rung.name().to_owned(),
        has,
        pulled: sight.is_pulled(rung),
        gives: rung.gives().to_owned(),
        costs: sight.costs(rung),
        detail: detail(ladders, rung),
        obstacle: sight.obstacle(rung).filter(|_| !has),
    }
}

fn detail(ladders: &ladders::Ladders, rung: Rung) -> Option<String> {
    match rung {
        Rung::SecondInstance => Some(format!("{} instances", ladders.web.instances)),
        Rung::HealthCheck => match &ladders.web.health_check.check {
            Check::Http { endpoint } => Some(format!("GET {endpoint}")),
            Check::Port | Check::Process => None,
        },
        Rung::RollingByDefault => None,
        Rung::PinnedRuntime => {
            let runtime = ladders.app.pulled.pinned_runtime.as_ref().or(ladders.runtime.as_ref());
            runtime.map(|runtime| format!("{} {}", runtime.name, runtime.version))
        }
    }
}
