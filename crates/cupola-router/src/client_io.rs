//! The socket of a client, and what the sweep needs to know of it.
//!
//! Reads and writes only leave marks; the sweep of the worker compares them with the limits. That
//! costs a few plain stores per request instead of a timer per read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

use crate::{clock::CoarseClock, gate::Gate, limits::Limits};

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// A request head is awaited since accept, or has begun.
    Head,
    /// Between two requests.
    Idle,
    Request,
    Tunnel,
}

impl Phase {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Head,
            1 => Self::Idle,
            2 => Self::Request,
            _ => Self::Tunnel,
        }
    }
}

/// Shared between the socket, the request on it and the sweep, all of one thread. Atomic only
/// because hyper wants upgradable sockets to be `Send`.
pub(crate) struct ConnState {
    clock: CoarseClock,
    /// A `Phase`, since `since_ms`.
    phase: AtomicU8,
    since_ms: AtomicU64,
    active_ms: AtomicU64,
    read_bytes: AtomicU64,
    /// The last read found nothing: the router waits for the client.
    read_starved: AtomicBool,
    uploading: AtomicBool,
    answered: AtomicBool,
    awaiting_app: AtomicBool,
    app_too_slow: AtomicBool,
    draining: AtomicBool,
    /// A request was begun on it, ever.
    was_asked: AtomicBool,
    write_blocked_ms: AtomicU64,
    reset_on_close: AtomicBool,
    upgrade_refused: AtomicBool,
    unscanned: AtomicBool,
    waker: AtomicWaker,
}

/// What the sweep does about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Close(&'static str),
}

/// How an upload fared since its window began. Kept by the sweep.
#[derive(Default)]
pub(crate) struct UploadWindow {
    starved_ms: u64,
    bytes_at_start: u64,
}

impl ConnState {
    pub(crate) fn new(clock: CoarseClock) -> Self {
        let now_ms = clock.now_ms();
        Self {
            clock,
            phase: AtomicU8::new(Phase::Head as u8),
            since_ms: AtomicU64::new(now_ms),
            active_ms: AtomicU64::new(now_ms),
            read_bytes: AtomicU64::new(0),
            read_starved: AtomicBool::new(false),
            uploading: AtomicBool::new(false),
            answered: AtomicBool::new(true),
            awaiting_app: AtomicBool::new(false),
            app_too_slow: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            was_asked: AtomicBool::new(false),
            write_blocked_ms: AtomicU64::new(0),
            reset_on_close: AtomicBool::new(false),
            upgrade_refused: AtomicBool::new(false),
            unscanned: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    pub(crate) fn begin_request(&self, has_body: bool) {
        self.enter(Phase::Request);
        self.was_asked.store(true, Relaxed);
        self.uploading.store(has_body, Relaxed);
        self.answered.store(false, Relaxed);
    }

    /// The answer is complete, or given up.
    pub(crate) fn end_answer(&self) {
        self.answered.store(true, Relaxed);
        self.rest_if_done();
    }

    /// Nothing more of the request body will be read.
    pub(crate) fn end_upload(&self) {
        self.uploading.store(false, Relaxed);
        self.rest_if_done();
    }

    pub(crate) fn begin_tunnel(&self) {
        self.enter(Phase::Tunnel);
        self.touch();
    }

    fn rest_if_done(&self) {
        if self.answered.load(Relaxed) && !self.uploading.load(Relaxed) {
            self.enter(Phase::Idle);
        }
    }

    fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Relaxed))
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.since_ms.store(self.clock.now_ms(), Relaxed);
    }

    /// Since when no request is in flight on this connection. None while one is, or a tunnel.
    pub(crate) fn idle_since_ms(&self) -> Option<u64> {
        matches!(self.phase(), Phase::Idle | Phase::Head).then(|| self.since_ms.load(Relaxed))
    }

    pub(crate) fn touch(&self) {
        self.active_ms.store(self.clock.now_ms(), Relaxed);
    }

    pub(crate) fn await_app(&self) {
        self.app_too_slow.store(false, Relaxed);
        self.awaiting_app.store(true, Relaxed);
        self.since_ms.store(self.clock.now_ms(), Relaxed);
    }

    pub(crate) fn app_answered(&self) {
        self.awaiting_app.store(false, Relaxed);
        self.touch();
    }

    /// The app did not begin its answer in time.
    pub(crate) fn app_is_too_slow(&self) -> bool {
        self.app_too_slow.load(Relaxed)
    }

    /// The task of the connection is woken when the sweep has something to say.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Relaxed);
        self.waker.wake();
    }

    /// The connection shall end after the request that is on it. One that was just made has its
    /// first still on the way: closing it would fail a request that its client cannot know to be
    /// unread.
    pub(crate) fn must_end(&self) -> bool {
        self.draining.load(Relaxed) && self.was_asked.load(Relaxed)
    }

    /// The client must not take what it has for the whole answer.
    pub(crate) fn reset_on_close(&self) {
        self.reset_on_close.store(true, Relaxed);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.reset_on_close.load(Relaxed)
    }

    /// The client goes on in HTTP: its bytes are scanned again. True if some went by unscanned, so
    /// that nothing more may be answered on this connection.
    pub(crate) fn refuse_upgrade(&self) -> bool {
        self.upgrade_refused.store(true, Relaxed);
        self.unscanned.load(Relaxed)
    }

    fn note_read(&self, bytes: usize) {
        self.read_bytes.store(self.read_bytes.load(Relaxed) + bytes as u64, Relaxed);
        self.read_starved.store(false, Relaxed);
        self.touch();
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    pub(crate) fn note_write(&self, is_blocked: bool) {
        let since_ms = self.write_blocked_ms.load(Relaxed);
        if !is_blocked {
            self.touch();
            if since_ms != 0 {
                self.write_blocked_ms.store(0, Relaxed);
            }
        } else if since_ms == 0 {
            self.write_blocked_ms.store(self.clock.now_ms(), Relaxed);
        }
    }

    /// Called once per sweep.
    pub(crate) fn judge(&self, window: &mut UploadWindow, limits: &Limits) -> Verdict {
        let now_ms = self.clock.now_ms();
        let older =
            |mark: &AtomicU64, limit: u64| now_ms.saturating_sub(mark.load(Relaxed)) > limit;
        if self.write_blocked_ms.load(Relaxed) != 0
            && older(&self.write_blocked_ms, limits.write_stall_ms)
        {
            return Verdict::Close("the client does not read its answer");
        }
        match self.phase() {
            Phase::Head if older(&self.since_ms, limits.header_deadline_ms) => {
                Verdict::Close("the request head is not complete in time")
            }
            Phase::Head
                if self.draining.load(Relaxed)
                    && !self.was_asked.load(Relaxed)
                    && older(&self.since_ms, limits.drain_unasked_ms) =>
            {
                Verdict::Close("nothing was asked on it before the drain")
            }
            Phase::Idle if older(&self.since_ms, limits.keep_alive_idle_ms) => {
                Verdict::Close("the connection is idle")
            }
            Phase::Tunnel if older(&self.active_ms, limits.tunnel_idle_ms) => {
                Verdict::Close("the tunnel is idle")
            }
            Phase::Request => self.judge_busy(now_ms, window, limits),
            _ => Verdict::Keep,
        }
    }

    fn judge_busy(&self, now_ms: u64, window: &mut UploadWindow, limits: &Limits) -> Verdict {
        if self.is_upload_too_slow(window, limits) {
            return Verdict::Close("the request body comes too slowly");
        }
        let silent_since = self.since_ms.load(Relaxed).max(self.active_ms.load(Relaxed));
        if self.awaiting_app.load(Relaxed)
            && now_ms.saturating_sub(silent_since) > limits.app_silence_ms
        {
            self.app_too_slow.store(true, Relaxed);
            self.waker.wake();
        } else if !self.awaiting_app.load(Relaxed)
            && now_ms.saturating_sub(silent_since) > limits.app_silence_ms
        {
            self.reset_on_close();
            return Verdict::Close("the answer does not go on");
        }
        Verdict::Keep
    }

    /// Only time in which the router waited for the client counts, never the app's back-pressure.
    fn is_upload_too_slow(&self, window: &mut UploadWindow, limits: &Limits) -> bool {
        let bytes = self.read_bytes.load(Relaxed);
        let enough = limits.body_rate_min * limits.body_rate_window_ms / 1000;
        if !self.uploading.load(Relaxed) || bytes - window.bytes_at_start >= enough {
            *window = UploadWindow { starved_ms: 0, bytes_at_start: bytes };
            return false;
        }
        if self.read_starved.load(Relaxed) {
            window.starved_ms += limits.sweep_ms;
        }
        window.starved_ms > limits.body_rate_window_ms
    }
}

pub(crate) struct ClientIo {
    /// With what counts this connection for as long as its socket is open, tunnels included.
    /// None once a tunnel has taken it.
    stream: Option<(TcpStream, OwnedSemaphorePermit)>,
    state: Arc<ConnState>,
    gate: Gate,
}

impl ClientIo {
    pub(crate) fn new(
        stream: TcpStream,
        state: Arc<ConnState>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { stream: Some((stream, permit)), state, gate: Gate::default() }
    }

    pub(crate) fn take(mut self) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        self.stream.take()
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        let (stream, _) = self.stream.as_mut().expect("a socket is taken when hyper has let go");
        Pin::new(stream)
    }

    /// A reset instead of an orderly end, for answers that were cut.
    fn arm_reset(&self) {
        if let Some((stream, _)) = &self.stream
            && self.state.reset_on_close.load(Relaxed)
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot arm a reset for a cut answer");
        }
    }

    fn scan(&mut self, bytes: &mut [u8]) {
        if self.gate.is_paused() && self.state.upgrade_refused.swap(false, Relaxed) {
            self.gate.resume();
        }
        if self.gate.scan(bytes) {
            self.state.unscanned.store(true, Relaxed);
        }
    }
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        self.arm_reset();
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = self.stream().poll_read(cx, buf);
        match &result {
            Poll::Pending => self.state.read_starved.store(true, Relaxed),
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                let bytes = &mut buf.filled_mut()[before..];
                self.state.note_read(bytes.len());
                self.scan(bytes);
            }
            Poll::Ready(_) => {}
        }
        result
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.stream().poll_write(cx, buf);
        self.state.note_write(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.stream().poll_write_vectored(cx, bufs);
        self.state.note_write(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.arm_reset();
        self.stream().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { body_rate_min: 100, body_rate_window_ms: 3_000, ..Limits::default() }
    }

    #[test]
    fn upload_is_too_slow_only_while_the_router_waits_for_the_client() {
        let state = ConnState::new(CoarseClock::new());
        let mut window = UploadWindow::default();
        state.begin_request(true);

        let app_is_slow: Vec<_> = (0..9).map(|_| state.judge(&mut window, &limits())).collect();
        state.read_starved.store(true, Relaxed);
        let client_is_slow: Vec<_> = (0..4).map(|_| state.judge(&mut window, &limits())).collect();

        assert!(app_is_slow.iter().all(|verdict| *verdict == Verdict::Keep));
        assert_eq!(client_is_slow[3], Verdict::Close("the request body comes too slowly"));
    }

    #[test]
    fn trickled_bytes_do_not_extend_an_upload_that_stays_below_the_rate() {
        let state = ConnState::new(CoarseClock::new());
        let mut window = UploadWindow::default();
        state.begin_request(true);

        let verdicts: Vec<_> = (0..4)
            .map(|_| {
                state.note_read(50);
                state.read_starved.store(true, Relaxed);
                state.judge(&mut window, &limits())
            })
            .collect();

        assert_eq!(verdicts[3], Verdict::Close("the request body comes too slowly"));
    }
}
