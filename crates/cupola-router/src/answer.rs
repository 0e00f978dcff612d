//! The body of an answer on its way to the client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::{client_io::ConnState, exchange::Exchange, headers, upstream::Lease};

pub(crate) enum AnswerBody {
    /// A text of the router, or nothing.
    Whole {
        text: Option<Bytes>,
        _end: EndOfAnswer,
    },
    Stream(Box<Stream>),
}

/// Marks the answer of a connection as over when it is dropped.
pub(crate) struct EndOfAnswer(pub(crate) Arc<ConnState>);

impl Drop for EndOfAnswer {
    fn drop(&mut self) {
        self.0.end_answer();
    }
}

pub(crate) struct Stream {
    incoming: Incoming,
    /// Gone once the answer is complete. Order matters: the lease ends before the request does.
    live: Option<(Lease, Box<Exchange>)>,
    end: EndOfAnswer,
}

impl AnswerBody {
    pub(crate) fn whole(text: Option<Bytes>, end: EndOfAnswer) -> Self {
        Self::Whole { text, _end: end }
    }

    pub(crate) fn stream(
        incoming: Incoming,
        lease: Lease,
        exchange: Box<Exchange>,
        end: EndOfAnswer,
    ) -> Self {
        let mut stream = Stream { incoming, live: Some((lease, exchange)), end };
        if stream.incoming.is_end_stream() {
            stream.complete();
            return Self::whole(None, stream.end);
        }
        Self::Stream(Box::new(stream))
    }
}

impl Stream {
    fn complete(&mut self) {
        if let Some((lease, _exchange)) = self.live.take() {
            lease.give_back();
        }
    }

    /// The client must not take what it has for the whole: RFC 9112, section 8.
    fn cut(&mut self, error: &hyper::Error) {
        self.end.0.reset_on_close();
        if let Some((_lease, exchange)) = &mut self.live {
            exchange.router_error = Some(format!("endpoint_failure ({error})"));
        }
        self.live = None;
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let stream = match &mut *self {
            Self::Whole { text, .. } => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            Self::Stream(stream) => stream,
        };
        let frame = ready!(Pin::new(&mut stream.incoming).poll_frame(cx));
        match frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some((_, exchange))) = (frame.data_ref(), &mut stream.live) {
                    exchange.sent += data.len() as u64;
                }
                if stream.incoming.is_end_stream() {
                    stream.complete();
                }
                Poll::Ready(Some(Ok(without_forbidden_trailers(frame))))
            }
            Some(Err(error)) => {
                stream.cut(&error);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                stream.complete();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { text, .. } => text.is_none(),
            Self::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { text, .. } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Self::Stream(stream) => stream.incoming.size_hint(),
        }
    }
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
