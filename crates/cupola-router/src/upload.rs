//! The body of a request on its way to the app.
//!
//! Nothing is buffered here: hyper reads from the client only when the app's socket takes more.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep, timeout};

use crate::{client_io::ConnState, headers, limits::Limits};

pub(crate) struct UploadBody {
    incoming: Option<Incoming>,
    upload: Rc<Upload>,
    expect: Option<Expectation>,
}

/// What the rest of the request needs to know about its body.
pub(crate) struct Upload {
    received: Rc<Cell<u64>>,
    /// Something was read from the client, so that it cannot be sent again.
    has_begun: Cell<bool>,
    is_done: Cell<bool>,
    state: Arc<ConnState>,
    linger_bytes_max: u64,
    linger: Duration,
}

impl Upload {
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_done.get()
    }

    fn end(&self) {
        if !self.is_done.replace(true) {
            self.state.end_upload();
        }
    }
}

/// `Expect: 100-continue`: the body waits until the app asks for it.
struct Expectation {
    asked: Arc<Asked>,
    patience: Pin<Box<Sleep>>,
}

#[derive(Default)]
pub(crate) struct Asked {
    is_asked: AtomicBool,
    waker: AtomicWaker,
}

impl Asked {
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Relaxed);
        self.waker.wake();
    }
}

impl UploadBody {
    pub(crate) fn new(
        incoming: Incoming,
        received: Rc<Cell<u64>>,
        state: Arc<ConnState>,
        limits: &Limits,
    ) -> Self {
        let upload = Upload {
            received,
            has_begun: Cell::new(false),
            is_done: Cell::new(incoming.is_end_stream()),
            state,
            linger_bytes_max: limits.linger_bytes_max,
            linger: Duration::from_millis(limits.linger_ms),
        };
        Self { incoming: Some(incoming), upload: Rc::new(upload), expect: None }
    }

    /// No body, for a request that is sent again.
    pub(crate) fn empty(like: &Rc<Upload>) -> Self {
        Self { incoming: None, upload: like.clone(), expect: None }
    }

    pub(crate) fn upload(&self) -> &Rc<Upload> {
        &self.upload
    }

    /// Holds the body back until `Asked::ask`, or for as long as the client can be expected to wait.
    pub(crate) fn expect_continue(&mut self, limits: &Limits) -> Arc<Asked> {
        let asked = Arc::<Asked>::default();
        let patience = Box::pin(sleep(Duration::from_millis(limits.expect_wait_ms)));
        self.expect = Some(Expectation { asked: asked.clone(), patience });
        asked
    }

    fn poll_expectation(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(expect) = &mut self.expect {
            expect.asked.waker.register(cx.waker());
            if !expect.asked.is_asked.load(Relaxed) {
                ready!(expect.patience.as_mut().poll(cx));
            }
            self.expect = None;
        }
        Poll::Ready(())
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        ready!(this.poll_expectation(cx));
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        let is_over = match &frame {
            Some(Ok(frame)) => {
                this.upload.has_begun.set(true);
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                this.upload.received.set(this.upload.received.get() + bytes as u64);
                incoming.is_end_stream()
            }
            None | Some(Err(_)) => true,
        };
        if is_over {
            this.upload.end();
        }
        Poll::Ready(frame.map(|frame| frame.map(without_forbidden_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        if self.upload.is_done() {
            return;
        }
        // A client that still waits for 100 has nothing on the way.
        if self.expect.is_some() {
            self.upload.end();
            return;
        }
        tokio::task::spawn_local(linger(incoming, self.upload.clone()));
    }
}

/// Reads on for a while after the answer: closing a socket with unread bytes resets it, and a reset
/// can destroy an answer the client has not read yet (RFC 9112, section 9.6).
async fn linger(mut incoming: Incoming, upload: Rc<Upload>) {
    let drain = async {
        let mut left = upload.linger_bytes_max;
        while let Some(Ok(frame)) =
            std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await
        {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            upload.received.set(upload.received.get() + bytes);
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
        }
    };
    // What is still unread then is cut by hyper, which closes the connection.
    let _over = timeout(upload.linger, drain).await;
    drop(incoming);
    upload.end();
}

fn without_forbidden_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::strip_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
