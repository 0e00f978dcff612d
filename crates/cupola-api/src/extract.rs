//! Reading requests: who asks, ids in paths, bodies.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{header, request::Parts},
};
use cupola_control::{ControlError, caller::Caller};
use serde::de::DeserializeOwned;

use crate::{Api, error::ApiFailure};

/// The caller that the bearer token tells.
pub(crate) struct Authenticated(pub Caller);

impl FromRequestParts<Api> for Authenticated {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiFailure> {
        // A connection over the administrator's socket carries its caller.
        if let Some(caller) = parts.extensions.get::<Caller>() {
            return Ok(Self(caller.clone()));
        }
        let header = parts.headers.get(header::AUTHORIZATION);
        let Some(header) = header.and_then(|value| value.to_str().ok()) else {
            return Err(ControlError::NotAuthenticated { detail: "Authentication error" }.into());
        };
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(ControlError::InvalidToken.into()),
        };
        Ok(Self(api.control.authenticate(token).await?))
    }
}

/// An id in the path. One that is not an id names nothing, so that it is not found.
pub(crate) struct Id<T>(pub T);

impl<T: std::str::FromStr + Send> FromRequestParts<Api> for Id<T> {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiFailure> {
        let path = Path::<Vec<(String, String)>>::from_request_parts(parts, api).await;
        let guid = path.ok().and_then(|Path(pairs)| {
            pairs.into_iter().find(|(name, _)| name == "guid").map(|(_, value)| value)
        });
        let id = guid.and_then(|guid| guid.parse().ok());
        id.map(Self)
            .ok_or_else(|| ControlError::NotFound { noun: noun_of(parts.uri.path()) }.into())
    }
}

/// A guid in the path of something that is no row.
pub(crate) struct Guid(pub String);

impl FromRequestParts<Api> for Guid {
    type Rejection = ApiFailure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiFailure> {
        let Id(guid) = Id::<String>::from_request_parts(parts, api).await?;
        Ok(Self(guid))
    }
}

/// The noun that a path is about, as `App not found` names it.
fn noun_of(path: &str) -> &'static str {
    const NOUNS: &[(&str, &str)] = &[
        ("apps", "App"),
        ("audit_events", "Event"),
        ("builds", "Build"),
        ("buildpacks", "Buildpack"),
        ("deployments", "Deployment"),
        ("domains", "Domain"),
        ("droplets", "Droplet"),
        ("jobs", "Job"),
        ("organizations", "Organization"),
        ("packages", "Package"),
        ("processes", "Process"),
        ("revisions", "Revision"),
        ("roles", "Role"),
        ("routes", "Route"),
        ("service_credential_bindings", "Service credential binding"),
        ("service_instances", "Service instance"),
        ("spaces", "Space"),
        ("stacks", "Stack"),
        ("tasks", "Task"),
        ("users", "User"),
    ];
    let segment = path.split('/').nth(2).unwrap_or_default();
    NOUNS.iter().find(|(plural, _)| *plural == segment).map_or("Resource", |(_, noun)| noun)
}

/// A JSON body. Unknown keys are refused by the types that say so.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiFailure> {
        let bytes = axum::body::Bytes::from_request(request, api).await.map_err(|rejection| {
            ControlError::BadRequest(format!("cannot read the request body: {rejection}"))
        })?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes).map(Self).map_err(|error| {
            // Well-formed JSON of the wrong shape is upstream's 422, anything else its 400.
            if error.is_data() {
                ControlError::Unprocessable(error.to_string()).into()
            } else {
                let text = "Request invalid due to parse error: invalid request body";
                ControlError::BadRequest(text.to_owned()).into()
            }
        })
    }
}
