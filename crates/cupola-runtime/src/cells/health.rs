//! Health and readiness of an instance, seen from outside.
//!
//! Before the first success a check is repeated quickly, because somebody waits for it; after it,
//! at its interval. One failed check may be bad luck on a busy machine: a running instance is
//! given up after three in a row.

use std::{net::SocketAddr, time::Duration};

use cupola_domain::{
    instances::{ExitCause, ListenDetail},
    processes::{Check, HealthCheck},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::listening;

const START_TIMEOUT_S: u32 = 60;
const INVOCATION_TIMEOUT_S: u32 = 1;
const INTERVAL_S: u32 = 30;

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(250);

/// So many failures in a row end a running instance.
const FAILURES_MAX: u32 = 3;
const RETRY: Duration = Duration::from_secs(1);

/// An HTTP answer's first line is all that matters.
const STATUS_LINE_BYTES: u64 = 4096;

/// Where to check and what is known of the container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) address: SocketAddr,
    pub(super) pid: i32,
}

/// Waits for the first success; the cause of its end if there is none in time.
pub(super) async fn first_success(check: &HealthCheck, subject: Subject) -> Result<(), ExitCause> {
    let timeout_s = check.start_timeout_s.unwrap_or(START_TIMEOUT_S);
    let deadline = Instant::now() + Duration::from_secs(timeout_s.into());
    let mut wait = FIRST_WAIT;
    loop {
        let Err(detail) = invoke(check, subject).await else { return Ok(()) };
        if Instant::now() + wait >= deadline {
            let detail = what_listens(subject, detail);
            return Err(ExitCause::NeverHealthy { timeout_s, detail });
        }
        sleep(wait).await;
        wait = (wait * 3 / 2).min(LONGEST_WAIT);
    }
}

/// Watches a healthy instance until it is to be given up. `tell` hears of each failure, and of the
/// success after it.
pub(super) async fn until_unhealthy(
    check: &HealthCheck,
    subject: Subject,
    mut tell: impl FnMut(Option<String>),
) -> ExitCause {
    if check.check == Check::Process {
        // Its end is seen by the shim.
        return std::future::pending().await;
    }
    let mut failures = 0;
    loop {
        sleep(if failures == 0 { interval(check) } else { RETRY }).await;
        match invoke(check, subject).await {
            Ok(()) if failures > 0 => {
                failures = 0;
                tell(None);
            }
            Ok(()) => {}
            Err(detail) => {
                failures += 1;
                if failures >= FAILURES_MAX {
                    return ExitCause::Unhealthy { detail };
                }
                tell(Some(detail));
            }
        }
    }
}

/// Tells each change between ready and not ready. Never returns.
pub(super) async fn follow_readiness(
    check: &HealthCheck,
    subject: Subject,
    mut tell: impl FnMut(Result<(), String>),
) -> ExitCause {
    if check.check == Check::Process {
        return std::future::pending().await;
    }
    let mut was_ready = None;
    let mut wait = FIRST_WAIT;
    loop {
        let result = invoke(check, subject).await;
        let is_ready = result.is_ok();
        if was_ready != Some(is_ready) {
            tell(result);
            was_ready = Some(is_ready);
        }
        if is_ready {
            sleep(interval(check)).await;
            wait = FIRST_WAIT;
        } else {
            sleep(wait).await;
            wait = (wait * 2).min(interval(check));
        }
    }
}

fn interval(check: &HealthCheck) -> Duration {
    Duration::from_secs(check.interval_s.unwrap_or(INTERVAL_S).max(1).into())
}

/// One check; the reason for people if it fails.
async fn invoke(check: &HealthCheck, subject: Subject) -> Result<(), String> {
    let limit_s = check.invocation_timeout_s.unwrap_or(INVOCATION_TIMEOUT_S).max(1);
    let attempt = async {
        match &check.check {
            Check::Process => Ok(()),
            Check::Port => connect(subject.address).await.map(drop),
            Check::Http { endpoint } => get(subject.address, endpoint).await,
        }
    };
    timeout(Duration::from_secs(limit_s.into()), attempt).await.unwrap_or_else(|_| {
        Err(format!("no answer on port {} in {limit_s} s", subject.address.port()))
    })
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect to port {}: {error}", address.port()))
}

async fn get(address: SocketAddr, endpoint: &str) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let request = format!(
        "GET {endpoint} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: cupola-healthcheck\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: std::io::Error| format!("GET {endpoint} failed: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    let mut limited = stream.take(STATUS_LINE_BYTES);
    while !head.contains(&b'\n') {
        if limited.read_buf(&mut head).await.map_err(failed)? == 0 {
            break;
        }
    }
    match status_of(&head) {
        Some(200) => Ok(()),
        Some(status) => Err(format!("GET {endpoint} answered {status} where 200 is wanted")),
        None => Err(format!("GET {endpoint} was not answered in HTTP")),
    }
}

fn status_of(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let (version, rest) = text.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| rest.get(..3)?.parse().ok())?
}

/// What an instance that never became healthy listens on, so that its author need not guess.
fn what_listens(subject: Subject, detail: String) -> ListenDetail {
    let sockets = listening::of_process(subject.pid);
    listening::describe(&sockets, subject.address.port(), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_line_is_an_answer() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\nServer: x"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 503 Busy\r\n"), Some(503));
        assert_eq!(status_of(b"SSH-2.0-OpenSSH_9.2\r\n"), None);
        assert_eq!(status_of(b""), None);
    }
}
