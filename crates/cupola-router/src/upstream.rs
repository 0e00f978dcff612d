//! Connections to instances: dialled, leased to one request, and pooled per worker.
//!
//! Invariant: a connection returns to the pool only when the request was sent and the answer read
//! completely, and hyper agrees that nothing else came. A pool is keyed by instance id, never by
//! address: an address that another app is given later is another instance.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use cupola_domain::ids::InstanceId;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};

use crate::{
    instance::Instance,
    upload::{Upload, UploadBody},
    worker::Worker,
};

/// Buffers of one connection to an app; also the largest head of an answer.
const BUFFER_BYTES_MAX: usize = 256 << 10;

/// One connection to an instance.
struct Upstream {
    sender: SendRequest<UploadBody>,
    marks: Arc<Marks>,
    task: AbortHandle,
}

/// What the socket notes for those who use it.
#[derive(Default)]
struct Marks {
    /// Bytes that the app has sent, ever.
    heard: AtomicU64,
    /// The app takes nothing more.
    is_deaf: AtomicBool,
}

/// A connection for the time of one request. Dropped without being given back, it is closed.
pub(crate) struct Lease {
    upstream: Option<Upstream>,
    worker: Rc<Worker>,
    instance: Arc<Instance>,
    is_reused: bool,
    heard_before: u64,
    upload: Option<Rc<Upload>>,
}

impl Lease {
    /// A pooled connection, or a new one.
    pub(crate) async fn take(
        worker: &Rc<Worker>,
        instance: &Arc<Instance>,
        must_be_new: bool,
    ) -> io::Result<Self> {
        let pooled = if must_be_new { None } else { worker.pool.borrow_mut().take(instance.id) };
        let is_reused = pooled.is_some();
        let upstream = match pooled {
            Some(upstream) => upstream,
            None => dial(worker, instance).await?,
        };
        Ok(Self {
            heard_before: upstream.marks.heard.load(Relaxed),
            upstream: Some(upstream),
            worker: worker.clone(),
            instance: instance.clone(),
            is_reused,
            upload: None,
        })
    }

    pub(crate) fn sender(&mut self, upload: &Rc<Upload>) -> &mut SendRequest<UploadBody> {
        self.upload = Some(upload.clone());
        &mut self
            .upstream
            .as_mut()
            .expect("a lease has its connection until it is given back")
            .sender
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// True if the app has sent anything in answer.
    pub(crate) fn was_heard(&self) -> bool {
        self.upstream.as_ref().is_some_and(|it| it.marks.heard.load(Relaxed) != self.heard_before)
    }

    /// The answer was read completely.
    pub(crate) fn give_back(mut self) {
        let is_sent = self.upload.as_ref().is_none_or(|upload| upload.is_done());
        let Some(upstream) = self.upstream.take() else { return };
        let is_deaf = upstream.marks.is_deaf.load(Relaxed);
        if !is_sent || is_deaf || self.instance.is_retired() {
            upstream.task.abort();
        } else if upstream.sender.is_ready() {
            self.worker.pool.borrow_mut().put(&self.worker, &self.instance, upstream);
        } else if !upstream.sender.is_closed() {
            // The connection's task has not yet seen that it is idle.
            tokio::task::spawn_local(put_when_ready(
                self.worker.clone(),
                self.instance.clone(),
                upstream,
            ));
        }
    }

    /// The connection has become a tunnel and is no longer ours to close.
    pub(crate) fn let_go(mut self) {
        self.upstream = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(upstream) = self.upstream.take() {
            upstream.task.abort();
        }
    }
}

async fn put_when_ready(worker: Rc<Worker>, instance: Arc<Instance>, mut upstream: Upstream) {
    if upstream.sender.ready().await.is_ok() {
        worker.pool.borrow_mut().put(&worker, &instance, upstream);
    }
}

async fn dial(worker: &Worker, instance: &Instance) -> io::Result<Upstream> {
    let stream = timeout(worker.shared.limits.dial(), TcpStream::connect(instance.address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"))??;
    stream.set_nodelay(true)?;
    let marks = Arc::<Marks>::default();
    let io = TokioIo::new(UpstreamIo { stream, marks: marks.clone() });
    let (sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(BUFFER_BYTES_MAX)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    let task = tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an instance ended");
        }
    });
    Ok(Upstream { sender, marks, task: task.abort_handle() })
}

/// The socket of an instance.
///
/// An app may answer and close while the upload still runs. Writing then fails although the answer
/// lies in the receive queue, and hyper would give up before it reads it. So that a failed write
/// only makes the app deaf: what follows is thrown away, and reading tells how it ends.
pub(crate) struct UpstreamIo {
    pub(crate) stream: TcpStream,
    marks: Arc<Marks>,
}

impl UpstreamIo {
    fn survive(&self, result: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                self.marks.is_deaf.store(true, Relaxed);
                Poll::Ready(Ok(bytes))
            }
            result => result,
        }
    }
}

impl AsyncRead for UpstreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        let heard = &self.marks.heard;
        heard.store(heard.load(Relaxed) + read, Relaxed);
        result
    }
}

impl AsyncWrite for UpstreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.survive(result, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.survive(result, bufs.iter().map(|buf| buf.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Idle connections of one worker, the most recently used on top.
#[derive(Default)]
pub(crate) struct Pool {
    per_instance: HashMap<InstanceId, PerInstance>,
}

struct PerInstance {
    instance: Arc<Instance>,
    idle: Vec<Idle>,
}

struct Idle {
    upstream: Upstream,
    since_ms: u64,
}

impl Pool {
    fn take(&mut self, id: InstanceId) -> Option<Upstream> {
        let idle = &mut self.per_instance.get_mut(&id)?.idle;
        while let Some(Idle { upstream, .. }) = idle.pop() {
            if upstream.sender.is_ready() {
                return Some(upstream);
            }
        }
        None
    }

    fn put(&mut self, worker: &Worker, instance: &Arc<Instance>, upstream: Upstream) {
        let fresh = || PerInstance { instance: instance.clone(), idle: Vec::new() };
        let idle = &mut self.per_instance.entry(instance.id).or_insert_with(fresh).idle;
        if idle.len() < worker.shared.limits.upstream_idle_max {
            idle.push(Idle { upstream, since_ms: worker.shared.clock.now_ms() });
        }
    }

    /// Drops what was closed, is idle for too long, or belongs to an instance without routes.
    pub(crate) fn sweep(&mut self, now_ms: u64, idle_ms: u64) {
        self.per_instance.retain(|_, pooled| {
            let is_retired = pooled.instance.is_retired();
            pooled.idle.retain(|idle| {
                !is_retired
                    && !idle.upstream.sender.is_closed()
                    && now_ms.saturating_sub(idle.since_ms) <= idle_ms
            });
            !pooled.idle.is_empty()
        });
    }
}
