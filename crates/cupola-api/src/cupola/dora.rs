//! `/cupola/v1/apps/{guid}/dora`.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use cupola_control::dora::Dora as DomainDora;
use cupola_domain::{
    dora::{Figure, Measure},
    ids::AppId,
};
use cupola_wire::dora::{Dora, DoraFigure};

use super::changes::since;
use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
    list::ListQuery,
};

pub(super) async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let since = since(&mut query)?;
    Ok(Json(present(api.control.dora(&caller, app, since).await?)).into_response())
}

fn present(dora: DomainDora) -> Dora {
    Dora {
        app: dora.app,
        since: dora.since.rfc3339(),
        until: dora.until.rfc3339(),
        figures: dora.figures.into_iter().map(figure).collect(),
    }
}

fn figure(figure: Figure) -> DoraFigure {
    let measure = figure.value.map(|measure| match measure {
        Measure::PerDay(number) => (number, "per_day"),
        Measure::Time(time) => (time.as_secs_f64(), "seconds"),
        Measure::Share(share) => (share, "share"),
    });
    let (value, unit) = measure.unzip();
    DoraFigure {
        name: figure.name.to_owned(),
        value,
        unit: unit.map(str::to_owned),
        derivation: figure.derivation.to_owned(),
        sample: figure.sample,
        unknown: figure.unknown,
    }
}
