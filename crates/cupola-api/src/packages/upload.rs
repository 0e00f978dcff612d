//! Receiving an upload: streamed to a file, never held in memory.
//!
//! Invariant: an upload that ends early leaves neither a file nor a changed package.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json,
    extract::{
        FromRequest, Multipart, Request, State,
        multipart::{Field, MultipartError},
    },
    http::header,
    response::{IntoResponse, Response},
};
use cupola_control::ControlError;
use cupola_domain::ids::PackageId;
use cupola_ports::stager::Resource;
use cupola_wire::packages::Resources;
use tokio::{
    io::AsyncWriteExt,
    sync::{Semaphore, SemaphorePermit},
};

use super::{present, resource};
use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
};

/// The list of known files of one upload may have this many bytes.
const LIST_BYTES_MAX: usize = 16 << 20;
/// Each upload is on disk until it is unpacked, so that few are received at a time.
const UPLOADS_MAX: usize = 4;
/// A client that sends nothing for this long does not keep others waiting any more.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// After this many bytes it is looked at again whether the disk has room.
const BYTES_BETWEEN_LOOKS: u64 = 16 << 20;

/// The right to send an upload, of which there are few.
#[derive(Clone)]
pub(crate) struct UploadSlots(Arc<Semaphore>);

impl UploadSlots {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(UPLOADS_MAX)))
    }

    pub(crate) async fn take(&self, hold: Duration) -> Result<SemaphorePermit<'_>, ControlError> {
        let slot = tokio::time::timeout(hold, self.0.acquire()).await;
        slot.ok().and_then(Result::ok).ok_or_else(|| {
            let detail = format!(
                "The platform is receiving {UPLOADS_MAX} uploads, which is as many as it takes at \
                 a time. Try again in a minute."
            );
            ControlError::Busy(detail)
        })
    }
}

pub(super) async fn upload(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<PackageId>,
    request: Request,
) -> Result<Response, ApiFailure> {
    api.control.check_upload(&caller, id).await?;
    let _slot = api.uploads.take(api.control.settings().hold).await?;
    let (zip, known) = receive(&api, id, request).await?;
    let path = zip.map(Incoming::keep);
    let package = api.control.upload_package(&caller, id, path, known).await?;
    Ok(Json(present::package(&api, &package)).into_response())
}

/// The zip of an upload, if there is one, and the files that were not sent because they are known.
async fn receive(
    api: &Api,
    id: PackageId,
    request: Request,
) -> Result<(Option<Incoming>, Vec<Resource>), ApiFailure> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json {
        // Without any new file there is no need for a form.
        let bytes = axum::body::to_bytes(request.into_body(), LIST_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| invalid(&error))?;
        return Ok((None, known_files(&bytes)?));
    }
    let mut form = Multipart::from_request(request, api).await.map_err(|rejection| {
        ControlError::Unprocessable(format!("Upload must be a form: {}", rejection.body_text()))
    })?;
    let (mut zip, mut known) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|error| cut(&error))? {
        match field.name() {
            Some("bits") => {
                zip = Some(Incoming::receive(api, &id.to_string(), "zip", field).await?)
            }
            Some("resources") => known = Some(known_files(&text(field).await?)?),
            // Clients of old send more fields, which mean nothing any more.
            _ => {}
        }
    }
    if zip.is_none() && known.is_none() {
        let detail = "Upload must include either resources or bits";
        return Err(ControlError::unprocessable(detail).into());
    }
    Ok((zip, known.unwrap_or_default()))
}

/// The list of known files: bare, or under the key of the JSON form.
fn known_files(bytes: &[u8]) -> Result<Vec<Resource>, ControlError> {
    let bare = serde_json::from_slice::<Vec<cupola_wire::packages::Resource>>(bytes);
    let files =
        bare.or_else(|_| serde_json::from_slice::<Resources>(bytes).map(|listed| listed.resources));
    let files = files.map_err(|error| {
        ControlError::Unprocessable(format!("Resources is not a list of files: {error}"))
    })?;
    files.into_iter().map(resource).collect()
}

async fn text(mut field: Field<'_>) -> Result<Vec<u8>, ApiFailure> {
    let mut text = Vec::new();
    while let Some(chunk) = next_chunk(&mut field).await? {
        if text.len() + chunk.len() > LIST_BYTES_MAX {
            let detail = "Resources is too long: upload the files instead of naming them";
            return Err(ControlError::unprocessable(detail).into());
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

async fn next_chunk(field: &mut Field<'_>) -> Result<Option<bytes::Bytes>, ControlError> {
    match tokio::time::timeout(PAUSE_MAX, field.chunk()).await {
        Ok(chunk) => chunk.map_err(|error| cut(&error)),
        Err(_) => {
            let pause = PAUSE_MAX.as_secs();
            let detail = format!("The upload was ended because nothing came for {pause} s.");
            Err(ControlError::BadRequest(detail))
        }
    }
}

/// A file that is being received. It is removed unless it is kept.
pub(crate) struct Incoming {
    path: PathBuf,
    is_kept: bool,
}

impl Incoming {
    /// Receives what is to be `id`, into a file with this ending.
    pub(crate) async fn receive(
        api: &Api,
        id: &str,
        ending: &str,
        mut field: Field<'_>,
    ) -> Result<Self, ApiFailure> {
        let settings = api.control.settings();
        let failed = |source: std::io::Error| ControlError::Outside {
            action: "writing an upload",
            source: Box::new(source),
        };
        tokio::fs::create_dir_all(&settings.uploads_dir).await.map_err(failed)?;
        // The same one may be uploaded to twice at the same time; only one is accepted.
        let name = format!("{id}-{}.{ending}", cupola_domain::ids::JobId::random());
        let incoming = Self { path: settings.uploads_dir.join(name), is_kept: false };
        let mut file = tokio::fs::File::create_new(&incoming.path).await.map_err(failed)?;
        let (mut bytes, mut next_look) = (0_u64, 0);
        while let Some(chunk) = next_chunk(&mut field).await? {
            bytes += chunk.len() as u64;
            if bytes > next_look {
                check_room(&settings.uploads_dir, settings.upload_free_bytes_min)?;
                next_look = bytes + BYTES_BETWEEN_LOOKS;
            }
            if bytes > settings.upload_bytes_max {
                let limit = settings.upload_bytes_max >> 20;
                let detail = format!(
                    "The upload is larger than the {limit} MiB that are allowed. Leave files that \
                     the app does not need out of it with a .cfignore file."
                );
                return Err(ControlError::Unprocessable(detail).into());
            }
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(incoming)
    }

    pub(crate) fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        std::mem::take(&mut self.path)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!("cannot remove the upload {}: {error}", self.path.display());
        }
    }
}

/// Refuses what would leave too little room on the disk.
fn check_room(dir: &Path, free_bytes_min: u64) -> Result<(), ControlError> {
    let disk = rustix::fs::statvfs(dir).map_err(|source| ControlError::Outside {
        action: "asking for the free space of the disk",
        source: Box::new(source),
    })?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free_bytes >= free_bytes_min {
        return Ok(());
    }
    let (free_mib, min_mib) = (free_bytes >> 20, free_bytes_min >> 20);
    tracing::error!(
        "an upload was refused: the disk has {free_mib} MiB left, of which {min_mib} stay free"
    );
    let detail = "The platform's disk is almost full, so that it takes no uploads. \
                  Tell its operator, or delete apps that you do not need.";
    Err(ControlError::Busy(detail.to_owned()))
}

/// The client went away, or sent what is no form.
pub(crate) fn cut(error: &MultipartError) -> ControlError {
    ControlError::BadRequest(format!("The upload ended early or is no form: {}", error.body_text()))
}

fn invalid(error: &axum::Error) -> ControlError {
    ControlError::BadRequest(format!("cannot read the request body: {error}"))
}
