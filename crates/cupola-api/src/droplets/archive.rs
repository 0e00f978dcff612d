//! Droplets as archives: `GET /v3/droplets/:guid/download` and `POST .../upload`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Json,
    body::Body,
    extract::{FromRequest, Multipart, Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use cupola_control::{ControlError, droplets::ShownDroplet};
use cupola_domain::ids::DropletId;
use cupola_ports::stager::DropletArchive;
use hyper::body::{Body as HttpBody, Frame};

use super::present;
use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
    jobs::accepted,
    packages::upload::{Incoming, cut},
};

/// Answered at once, while the archive is still being made. Cloud Foundry redirects to its blob
/// store; the `cf` CLI takes either.
pub(super) async fn download(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DropletId>,
) -> Result<Response, ApiFailure> {
    let archive = api.control.download_droplet(&caller, id).await?;
    let name = format!("attachment; filename=\"droplet_{id}.tgz\"");
    let name = HeaderValue::from_str(&name).expect("an id is printable");
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::new(Pieces(archive))).into_response())
}

pub(super) async fn upload(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DropletId>,
    request: Request,
) -> Result<Response, ApiFailure> {
    api.control.check_droplet_upload(&caller, id).await?;
    let _slot = api.uploads.take(api.control.settings().hold).await?;
    let archive = receive(&api, id, request).await?;
    let (droplet, job) = api.control.upload_droplet(&caller, id, archive.keep()).await?;
    let shown = ShownDroplet { droplet, shows_commands: true };
    let mut response = accepted(&api, &job);
    let (parts, body) = Json(present::droplet(&api, &shown, "")).into_response().into_parts();
    response.headers_mut().extend(parts.headers);
    *response.body_mut() = body;
    Ok(response)
}

async fn receive(api: &Api, id: DropletId, request: Request) -> Result<Incoming, ApiFailure> {
    let invalid =
        |why: &str| ControlError::Unprocessable(format!("Uploaded droplet file is invalid: {why}"));
    let form = Multipart::from_request(request, api).await;
    let mut form = form.map_err(|rejection| invalid(&rejection.body_text()))?;
    while let Some(field) = form.next_field().await.map_err(|error| cut(&error))? {
        if field.name() != Some("bits") {
            continue;
        }
        let incoming = Incoming::receive(api, &id.to_string(), "tgz", field).await?;
        // What comes after it is read too: an upload that is cut short is none.
        while form.next_field().await.map_err(|error| cut(&error))?.is_some() {}
        return Ok(incoming);
    }
    Err(invalid("A droplet tgz file must be uploaded as 'bits'").into())
}

/// An archive as the body of a response. An error in it ends the connection, so that the client
/// sees that it has not the whole.
struct Pieces(DropletArchive);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
