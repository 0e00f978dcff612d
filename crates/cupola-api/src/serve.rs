//! Serving the API: plain or TLS for clients, and a socket for the administrator of the machine.

use std::time::Duration;

use axum::{Extension, Router};
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
