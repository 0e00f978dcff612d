//! Serving the API: plain or TLS for clients, and a socket for the administrator of the machine.

use std::time::Duration;

use axum::{Extension, Router, body::Body, extract::Request, middleware::map_request};
use cupola_control::caller::Caller;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::pace::{Pace, Paced};

/// Where the API is served.
pub struct Listeners {
    pub tcp: TcpListener,
    /// None: plain HTTP.
    pub tls: Option<TlsAcceptor>,
    /// Who may open this socket is the administrator: its permissions are the check.
    pub admin: (UnixListener, Caller),
}

/// How long a client may take for its request head, and for a TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests are waited for at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// Connections at the same time; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;

/// Serves until `stop` turns true and the open requests are answered.
pub async fn serve(router: Router, listeners: Listeners, mut stop: watch::Receiver<bool>) {
    let Listeners { tcp, tls, admin: (socket, caller) } = listeners;
    let router = paced(router, Pace::default());
    let admins = router.clone().layer(Extension(caller));
    let mut connections = JoinSet::new();
    let for_connections = stop.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = tcp.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    // Answers are small: waiting to fill a segment only delays them.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!("cannot switch off Nagle's algorithm: {error}");
                    }
                    let (router, tls, stop) = (router.clone(), tls.clone(), for_connections.clone());
                    connections.spawn(async move {
                        match tls {
                            None => connection(stream, router, stop).await,
                            Some(tls) => {
                                let handshake = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream));
                                if let Ok(Ok(stream)) = handshake.await {
                                    connection(stream, router, stop).await;
                                }
                            }
                        }
                    });
                }
                Err(error) => rest_after(&error).await,
            },
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    let (router, stop) = (admins.clone(), for_connections.clone());
                    connections.spawn(connection(stream, router, stop));
                }
                Err(error) => rest_after(&error).await,
            },
        }
    }
    drop((tcp, socket));
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::info!("cut requests that were still open after {} s", DRAIN.as_secs());
    }
}

/// The same, with bodies that fail when they come too slowly.
fn paced(router: Router, pace: Pace) -> Router {
    let limit = move |request: Request| async move {
        request.map(|body| Body::new(Paced::new(body, pace)))
    };
    router.layer(map_request(limit))
}

/// Accepting fails when descriptors are used up; trying again at once would only burn the cpu.
async fn rest_after(error: &std::io::Error) {
    tracing::warn!("cannot accept a connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection<S>(stream: S, router: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let served = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(served);
    // The value that is waited for holds a lock, which must not live across an await.
    let stopped = async { drop(stop.wait_for(|stopped| *stopped).await) };
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = stopped => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!("a connection to the API ended badly: {error}");
    }
}

/// Returns when it is time to end. That nobody could say so any more is the end, too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stopped| *stopped).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::{body::Bytes, routing::post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const PACE: Pace = Pace { window: Duration::from_millis(200), bytes_min: 2 };

    /// A client of a server that says how long a body was.
    fn client() -> DuplexStream {
        let (client, server) = duplex(1 << 20);
        let length = |body: Bytes| async move { Ok::<_, Infallible>(body.len().to_string()) };
        let router = paced(Router::new().route("/", post(length)), PACE);
        tokio::spawn(async move {
            // Nobody says that it is time to end as long as this lives.
            let (_stop, stopped) = watch::channel(false);
            connection(server, router, stopped).await;
        });
        client
    }

    async fn announce(client: &mut DuplexStream, length: usize) {
        let head = format!("POST / HTTP/1.1\r\nHost: api\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_refused_and_its_connection_closed() {
        let mut client = client();

        announce(&mut client, 10).await;
        client.write_all(b"x").await.unwrap();

        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }

    #[tokio::test]
    async fn a_slow_body_that_keeps_coming_takes_as_long_as_it_takes() {
        let mut client = client();
        let mut pause = tokio::time::interval(PACE.window / 4);

        announce(&mut client, 16).await;
        for _ in 0..16 {
            pause.tick().await;
            client.write_all(b"x").await.unwrap();
        }

        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}
