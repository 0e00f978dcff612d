//! Takes one request from its client to an instance and brings the answer back.

use std::{
    io,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::body::{Body, Incoming};
use uuid::Builder as UuidBuilder;

use crate::{
    answer::{AnswerBody, EndOfAnswer},
    cookies,
    exchange::Exchange,
    framing, headers,
    instance::Instance,
    pick::{self, Pick},
    refusal::Refusal,
    table::Route,
    tunnel::{self, TunnelEnds},
    upload::UploadBody,
    upstream::Lease,
    worker::{Client, Worker, unless_too_slow},
};

pub(crate) async fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    client.state.begin_request(!request.body().is_end_stream());
    let end = EndOfAnswer(client.state.clone());
    let is_upgrade =
        request.headers().contains_key(header::UPGRADE) && request.body().is_end_stream();
    let mut answer = match forward(worker, &client, request).await {
        Ok(Answered::App(answer, lease, exchange)) => {
            answer.map(|body| AnswerBody::stream(body, lease, exchange, end))
        }
        Ok(Answered::Tunnel(answer)) => {
            return answer.map(|()| AnswerBody::whole(None, end));
        }
        Err(refusal) => refusal.answer().map(|text| AnswerBody::whole(Some(text), end)),
    };
    if is_upgrade && client.state.refuse_upgrade() {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

enum Answered {
    App(Response<Incoming>, Lease, Box<Exchange>),
    Tunnel(Response<()>),
}

async fn forward(
    worker: Rc<Worker>,
    client: &Rc<Client>,
    mut request: Request<Incoming>,
) -> Result<Answered, Refusal> {
    let started = (Instant::now(), wall_clock());
    let refused = match prepare(&worker, &mut request, started) {
        Ok(prepared) => return exchange(worker, client, request, prepared).await,
        Err(refusal) => refusal,
    };
    // What is still on its way would otherwise reset the connection and destroy the answer.
    if !request.body().is_end_stream() && !request.headers().contains_key(header::EXPECT) {
        let limits = &worker.shared.limits;
        drop(UploadBody::new(request.into_body(), Rc::default(), client.state.clone(), limits));
    } else {
        client.state.end_upload();
    }
    Err(refused)
}

#[expect(clippy::disallowed_methods, reason = "access lines and X-Request-Start carry wall time")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Everything that is decided before an instance is.
struct Prepared {
    route: Arc<Route>,
    raw_host: String,
    exchange: Box<Exchange>,
    request_id: HeaderValue,
    is_websocket: bool,
}

fn prepare(
    worker: &Rc<Worker>,
    request: &mut Request<Incoming>,
    started: (Instant, SystemTime),
) -> Result<Prepared, Refusal> {
    let target = framing::target(request)?;
    let raw_host = target.raw_host.to_owned();
    let Some(route) = worker.shared.index.lookup(&target.host, request.uri().path()) else {
        let is_known = worker.shared.index.has_table();
        return Err(if is_known {
            Refusal::UnknownRoute { host: raw_host }
        } else {
            Refusal::NoTable
        });
    };
    if target.is_absolute {
        rewrite_target(request, &raw_host)?;
    }
    let mut draft = worker.draft();
    let line = (request.method(), request.uri(), request.version());
    draft.begin(&mut worker.stamp.borrow_mut(), &raw_host, started.1, line);
    let app_id = pick::app_of(&route, request.headers());
    let exchange = Box::new(Exchange::new(worker.clone(), draft, started, app_id));
    let is_plain = request.body().is_end_stream();
    let is_websocket = is_plain && headers::is_websocket(request.headers());
    Ok(Prepared { route, raw_host, exchange, request_id: request_id(worker), is_websocket })
}

/// `GET http://host/path` becomes `GET /path` with the host of the target: RFC 9112, section 3.2.2.
fn rewrite_target(request: &mut Request<Incoming>, host: &str) -> Result<(), Refusal> {
    let unusable = || Refusal::Ambiguous("The request target cannot be forwarded.");
    let host = HeaderValue::try_from(host).map_err(|_| unusable())?;
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() =
        path.map_or_else(|| "/".parse(), |path| path.as_str().parse()).map_err(|_| unusable())?;
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

fn request_id(worker: &Worker) -> HeaderValue {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&worker.random().to_le_bytes());
    bytes[8..].copy_from_slice(&worker.random().to_le_bytes());
    let mut text = [0; 36];
    UuidBuilder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
    HeaderValue::from_bytes(&text).expect("a UUID is visible ASCII")
}

async fn exchange(
    worker: Rc<Worker>,
    client: &Rc<Client>,
    mut request: Request<Incoming>,
    prepared: Prepared,
) -> Result<Answered, Refusal> {
    let Prepared { route, raw_host, mut exchange, request_id, is_websocket } = prepared;
    let picked = Pick::new(&route, request.headers(), &raw_host, worker.random());
    let client_end = is_websocket.then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let mut body = UploadBody::new(
        body,
        exchange.received.clone(),
        client.state.clone(),
        &worker.shared.limits,
    );
    let asked = expects_continue(&parts).then(|| body.expect_continue(&worker.shared.limits));
    rewrite_head(client, &mut parts, &body, &mut exchange, (&request_id, is_websocket));
    let mut pick = picked.map_err(|refusal| exchange.refuse(refusal))?;
    let mut outgoing = Request::from_parts(parts, body);
    outgoing.extensions_mut().clear();
    if let Some(asked) = asked {
        hyper::ext::on_informational(&mut outgoing, move |interim| {
            if interim.status() == StatusCode::CONTINUE {
                asked.ask();
            }
        });
    }

    let sent = send(&worker, client, &mut pick, outgoing, &mut exchange, &raw_host).await;
    let (mut answer, lease, instance) = match sent {
        Ok(sent) => sent,
        Err(refusal) => return Err(exchange.refuse(refusal)),
    };
    exchange.begin_answer(answer.status().as_u16(), &client.state);
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(&worker, client, answer, lease, exchange, client_end, &request_id);
    }
    headers::strip_hop_by_hop(answer.headers_mut());
    answer.headers_mut().entry(headers::REQUEST_ID).or_insert(request_id);
    cookies::stick(answer.headers_mut(), pick.wanted.as_ref(), instance.id, &route.path);
    *answer.version_mut() = Version::HTTP_11;
    Ok(Answered::App(answer, lease, exchange))
}

fn expects_continue(parts: &request::Parts) -> bool {
    let expects = parts.headers.get(header::EXPECT);
    expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The head as the app gets it, apart from what says which instance it is.
fn rewrite_head(
    client: &Client,
    parts: &mut request::Parts,
    body: &UploadBody,
    exchange: &mut Exchange,
    (request_id, is_websocket): (&HeaderValue, bool),
) {
    headers::strip_hop_by_hop(&mut parts.headers);
    if is_websocket {
        headers::add_websocket(&mut parts.headers);
    }
    // hyper assumes that a GET has no body unless it is told.
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if !client.is_trusted {
        headers::strip_forwarding(&mut parts.headers);
    }
    let started_ms = exchange.started_ms();
    headers::add_forwarding(&mut parts.headers, &client.ip, request_id.clone(), started_ms);
    exchange.draft.describe(&parts.headers, &client.peer);
    parts.version = Version::HTTP_11;
}

/// Sends the request to one instance after another until one answers or no more may be tried.
async fn send(
    worker: &Rc<Worker>,
    client: &Client,
    pick: &mut Pick<'_>,
    mut outgoing: Request<UploadBody>,
    exchange: &mut Exchange,
    raw_host: &str,
) -> Result<(Response<Incoming>, Lease, Arc<Instance>), Refusal> {
    let limits = &worker.shared.limits;
    let mut failure = None;
    while let Some(instance) = pick.next(worker.shared.clock.now_ms(), limits) {
        exchange.assign(instance);
        headers::add_instance(outgoing.headers_mut(), instance);
        match attempt(worker, client, instance, outgoing).await {
            Ok((answer, lease)) => {
                instance.mark_reached();
                return Ok((answer, lease, instance.clone()));
            }
            Err(Failed::Unreachable(request, error)) => {
                // Once, not per request: clients must not be able to fill the disk.
                if instance.mark_failed(worker.shared.clock.now_ms() + limits.failed_ms) {
                    tracing::info!(
                        instance.id = %instance.id, instance.address = %instance.address, %error,
                        "cannot reach an instance; passing it over for a while"
                    );
                }
                let reason = format!("dial tcp {}: {}", instance.address, describe(&error));
                failure = Some(Refusal::EndpointFailure { reason });
                outgoing = *request;
            }
            Err(Failed::Finally(refusal)) => return Err(refusal),
        }
    }
    let full = pick.is_full().then(|| Refusal::ConnectionLimit { host: raw_host.to_owned() });
    Err(full.or(failure).unwrap_or_else(|| Refusal::NoEndpoints { host: raw_host.to_owned() }))
}

enum Failed {
    /// Nothing was sent: another instance may be tried.
    Unreachable(Box<Request<UploadBody>>, io::Error),
    Finally(Refusal),
}

/// One instance. A pooled connection may have been closed by the app just now, so that the request
/// is sent again on a new one if that is safe.
async fn attempt(
    worker: &Rc<Worker>,
    client: &Client,
    instance: &Arc<Instance>,
    mut outgoing: Request<UploadBody>,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let mut must_be_new = false;
    loop {
        let mut lease = match Lease::take(worker, instance, must_be_new).await {
            Ok(lease) => lease,
            Err(error) => return Err(Failed::Unreachable(Box::new(outgoing), error)),
        };
        let upload = outgoing.body().upload().clone();
        let is_idempotent = outgoing.method().is_idempotent() && outgoing.body().is_end_stream();
        let spare = (lease.is_reused() && is_idempotent).then(|| copy_head(&outgoing));
        let sending = lease.sender(&upload).try_send_request(outgoing);
        let Some(result) = unless_too_slow(&client.state, sending).await else {
            return Err(Failed::Finally(Refusal::EndpointTimeout));
        };
        let mut error = match result {
            Ok(answer) => return Ok((answer, lease)),
            Err(error) => error,
        };
        let unsent = error.take_message().filter(|_| !upload.has_begun());
        let again = unsent.or_else(|| {
            let spare = spare.filter(|_| !lease.was_heard())?;
            Some(spare.map(|()| UploadBody::empty(&upload)))
        });
        match again {
            Some(request) if lease.is_reused() => outgoing = request,
            _ => {
                let reason = describe_hyper(&error.into_error());
                return Err(Failed::Finally(Refusal::EndpointFailure { reason }));
            }
        }
        must_be_new = true;
    }
}

fn copy_head(request: &Request<UploadBody>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

fn describe_hyper(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The app agreed to WebSocket: from here on bytes are copied.
fn switch(
    worker: &Rc<Worker>,
    client: &Client,
    mut answer: Response<Incoming>,
    lease: Lease,
    mut exchange: Box<Exchange>,
    client_end: Option<hyper::upgrade::OnUpgrade>,
    request_id: &HeaderValue,
) -> Result<Answered, Refusal> {
    let Some(client_end) = client_end.filter(|_| headers::is_websocket(answer.headers())) else {
        let reason = "protocol switch that was not asked for".to_owned();
        return Err(exchange.refuse(Refusal::EndpointFailure { reason }));
    };
    let app_end = hyper::upgrade::on(&mut answer);
    lease.let_go();
    headers::strip_hop_by_hop(answer.headers_mut());
    let headers = answer.headers_mut();
    headers::add_websocket(headers);
    headers.entry(headers::REQUEST_ID).or_insert(request_id.clone());
    *answer.version_mut() = Version::HTTP_11;
    let ends = TunnelEnds { client: client_end, app: app_end };
    let tunnel = tunnel::run(worker.clone(), client.state.clone(), exchange, ends);
    worker.spawn_watched(client.state.clone(), tunnel);
    Ok(Answered::Tunnel(answer.map(drop)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_reads_of_a_failed_dial_is_short() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);

        assert_eq!(describe(&refused), "connect: connection refused");
    }
}
