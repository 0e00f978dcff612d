//! How slowly a request body may come: a client that sends nothing must not hold a connection.
//!
//! A rate and no deadline, because a large upload over a slow link takes as long as it takes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// So many bytes must come in each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub window: Duration,
    pub bytes_min: usize,
}

impl Default for Pace {
    /// 128 bytes a second over half a minute, as at the router.
    fn default() -> Self {
        Self { window: Duration::from_secs(30), bytes_min: 30 * 128 }
    }
}

/// A body that fails when it comes too slowly.
pub(crate) struct Paced {
    body: Body,
    pace: Pace,
    window: Pin<Box<Sleep>>,
    received_in_window: usize,
}

impl Paced {
    pub(crate) fn new(body: Body, pace: Pace) -> Self {
        Self { body, pace, window: Box::pin(sleep(pace.window)), received_in_window: 0 }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.received_in_window += data.map_or(0, Bytes::len);
            return Poll::Ready(frame);
        }
        while this.window.as_mut().poll(cx).is_ready() {
            if this.received_in_window < this.pace.bytes_min {
                let error = io::Error::new(io::ErrorKind::TimedOut, "it comes too slowly");
                return Poll::Ready(Some(Err(axum::Error::new(error))));
            }
            this.received_in_window = 0;
            this.window.as_mut().reset(Instant::now() + this.pace.window);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
