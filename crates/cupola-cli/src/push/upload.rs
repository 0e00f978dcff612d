//! Sending the app's files: only those that the platform does not have.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Seek, SeekFrom},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::{
    archive::{File, Source, zip},
    commit::Commit,
};
use crate::{
    client::Body,
    find::guid,
    output::{is_interactive, say},
    target::Target,
};

const BOUNDARY: &str = "cupola-e9b1c5f2a7d84c60";
const CHUNK: usize = 64 << 10;

/// Makes a package of the files and returns its id once it is ready.
pub(super) async fn package(
    target: &Target,
    app: &str,
    source: &Source,
    commit: Option<&Commit>,
) -> anyhow::Result<String> {
    let relationships = json!({ "app": { "data": { "guid": app } } });
    let mut new = json!({ "type": "bits", "relationships": relationships });
    if let Some(commit) = commit {
        new["metadata"] = json!({ "annotations": commit.annotations() });
    }
    let package: Value = target.client.post("/v3/packages", new).await?;
    let id = guid(&package)?;
    let (known, bits) = prepare(target, source).await?;
    send(target, &id, &known, bits).await?;
    loop {
        let package: Value = target.client.get(&format!("/v3/packages/{id}")).await?;
        match package["state"].as_str() {
            Some("READY") => return Ok(id),
            Some("FAILED" | "EXPIRED") => {
                let why = package["data"]["error"].as_str().unwrap_or("no reason is told");
                bail!("the upload was not accepted: {why}")
            }
            _ => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

/// The resources that need not be sent, and a file with a zip of the others.
async fn prepare(target: &Target, source: &Source) -> anyhow::Result<(Value, fs::File)> {
    match source {
        Source::Zip(path) => {
            let file = fs::File::open(path);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            Ok((json!([]), file))
        }
        Source::Folder(files) => {
            let known = known(target, files).await?;
            let is_known = |file: &File| file.can_be_known() && known.contains(&file.sha1);
            let resources: Vec<Value> =
                files.iter().filter(|file| is_known(file)).map(resource).collect();
            say(&format!("{} files, {} of them known already", files.len(), resources.len()));
            let mut bits = temporary()?;
            zip(files, |file| !is_known(file), &mut bits)?;
            bits.seek(SeekFrom::Start(0))?;
            Ok((Value::Array(resources), bits))
        }
    }
}

/// A file without a name: it is gone when it is closed.
fn temporary() -> anyhow::Result<fs::File> {
    use rustix::fs::{Mode, OFlags, open};
    let folder = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(&folder, flags, Mode::RUSR | Mode::WUSR);
    Ok(fs::File::from(file.with_context(|| format!("cannot write to {}", folder.display()))?))
}

/// The hashes that the platform knows. It takes 5000 at a time.
async fn known(target: &Target, files: &[File]) -> anyhow::Result<HashSet<String>> {
    let mut known = HashSet::new();
    let candidates: Vec<&File> = files.iter().filter(|file| file.can_be_known()).collect();
    for some in candidates.chunks(5000) {
        let resources: Vec<Value> = some.iter().map(|file| resource(file)).collect();
        let body = json!({ "resources": resources });
        let answer: Value = target.client.post("/v3/resource_matches", body).await?;
        let matched = answer["resources"].as_array().into_iter().flatten();
        known
            .extend(matched.filter_map(|one| one["checksum"]["value"].as_str().map(str::to_owned)));
    }
    Ok(known)
}

fn resource(file: &File) -> Value {
    json!({
        "path": file.path,
        "mode": format!("{:o}", file.mode),
        "size_in_bytes": file.bytes,
        "checksum": { "value": file.sha1 },
    })
}

async fn send(target: &Target, id: &str, known: &Value, bits: fs::File) -> anyhow::Result<()> {
    let size = bits.metadata()?.len();
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"resources\"\r\n\r\n{known}\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"bits\"; filename=\"app.zip\"\r\n\
         Content-Type: application/zip\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let progress = progress(size);
    let chunks = Chunks { head: Some(head.into()), bits, tail: Some(tail.into()), progress };
    let body: Body = StreamBody::new(futures_util::stream::iter(chunks)).boxed();
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    target.client.send_stream(&format!("/v3/packages/{id}/upload"), &content_type, body).await?;
    Ok(())
}

fn progress(size: u64) -> ProgressBar {
    if !is_interactive() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    let style = ProgressStyle::with_template("uploading {bar:30} {bytes} of {total_bytes}");
    bar.set_style(style.expect("the template is valid"));
    bar
}

/// The parts of a multipart body, read as they are sent.
struct Chunks {
    head: Option<Bytes>,
    bits: fs::File,
    tail: Option<Bytes>,
    progress: ProgressBar,
}

impl Iterator for Chunks {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(head) = self.head.take() {
            return Some(Ok(Frame::data(head)));
        }
        let mut buffer = vec![0; CHUNK];
        match self.bits.read(&mut buffer) {
            Ok(0) => {
                self.progress.finish_and_clear();
                self.tail.take().map(|tail| Ok(Frame::data(tail)))
            }
            Ok(count) => {
                buffer.truncate(count);
                self.progress.inc(count as u64);
                Some(Ok(Frame::data(buffer.into())))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
