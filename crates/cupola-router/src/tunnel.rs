//! A WebSocket: bytes are copied both ways until both sides are done, or until the platform ends
//! it, which the client is told with code 1001.
//!
//! Invariant: nothing reaches the app before it has answered 101, and a close frame is put only
//! where a frame of the app has ended.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    client_io::{ClientIo, ConnState},
    exchange::Exchange,
    upstream::UpstreamIo,
    worker::{Stage, Worker},
};

const BUFFER_BYTES: usize = 16 << 10;
/// FIN, close, unmasked, two bytes: 1001, going away. RFC 6455, sections 5.2 and 7.4.1.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// How long a frame of the app that has begun may take to end, and the client to say goodbye.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

pub(crate) struct TunnelEnds {
    pub(crate) client: OnUpgrade,
    pub(crate) app: OnUpgrade,
}

pub(crate) async fn run(
    worker: Rc<Worker>,
    state: Arc<ConnState>,
    mut exchange: Box<Exchange>,
    ends: TunnelEnds,
) {
    let upgraded = futures_util::future::try_join(ends.client, ends.app).await;
    let (client, app) = match upgraded {
        Ok(both) => both,
        Err(error) => return tracing::debug!(%error, "a tunnel was given up before it began"),
    };
    let (Some((client, permit, client_first)), Some((app, app_first))) =
        (client_socket(client), app_socket(app))
    else {
        return tracing::error!("an upgraded connection is not one of ours");
    };
    exchange.become_tunnel();
    state.begin_tunnel();
    let close = CloseSignal {
        instance: exchange.instance().map(|instance| instance.tunnels_must_close()),
        stage: worker.shared.stage.clone(),
    };
    let _permit: OwnedSemaphorePermit = permit;
    let (client_read, client_write) = client.into_split();
    let (app_read, app_write) = app.into_split();
    let up = Up { from: client_read, to: app_write, state: state.clone(), bytes: 0 };
    let down = Down {
        from: app_read,
        to: client_write,
        state,
        bytes: 0,
        frames: Frames::default(),
        close,
    };
    let (received, sent) = copy_both(up, down, client_first, app_first).await;
    exchange.received.set(received);
    exchange.sent = sent;
    // Before the place of the connection is free: a drain must not take another request for this
    // tunnel.
    drop(exchange);
}

async fn copy_both(
    mut up: Up,
    mut down: Down,
    client_first: Vec<u8>,
    app_first: Vec<u8>,
) -> (u64, u64) {
    {
        let upwards = up.copy(&client_first);
        let downwards = down.copy(&app_first);
        tokio::pin!(upwards, downwards);
        let mut up_is_over = false;
        let ended = loop {
            tokio::select! {
                result = &mut upwards, if !up_is_over => match result {
                    Ok(()) => up_is_over = true,
                    Err(_) => break Ended::Broken,
                },
                result = &mut downwards => break result.unwrap_or(Ended::Broken),
            }
        };
        // The other direction may still have something to say: after the app's end of stream, or
        // the client's goodbye.
        if !up_is_over && !matches!(ended, Ended::Broken) {
            let _late = timeout(CLOSE_GRACE, &mut upwards).await;
        }
    }
    (up.bytes, down.bytes)
}

enum Ended {
    /// The app ended it.
    Orderly,
    /// The platform ended it, and the client was told.
    Closed,
    /// A socket failed.
    Broken,
}

/// From the client to the app.
struct Up {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    state: Arc<ConnState>,
    bytes: u64,
}

impl Up {
    async fn copy(&mut self, first: &[u8]) -> io::Result<()> {
        self.to.write_all(first).await?;
        self.bytes += first.len() as u64;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = self.from.read(&mut buffer).await?;
            if read == 0 {
                return self.to.shutdown().await;
            }
            self.state.touch();
            self.to.write_all(&buffer[..read]).await?;
            self.bytes += read as u64;
        }
    }
}

/// From the app to the client.
struct Down {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    state: Arc<ConnState>,
    bytes: u64,
    frames: Frames,
    close: CloseSignal,
}

impl Down {
    async fn copy(&mut self, first: &[u8]) -> io::Result<Ended> {
        self.pass(first).await?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut close_by: Option<Instant> = None;
        loop {
            if close_by.is_some() && self.frames.is_between() {
                return self.say_goodbye().await;
            }
            let deadline = close_by.unwrap_or_else(Instant::now);
            tokio::select! {
                () = self.close.wait(), if close_by.is_none() => {
                    close_by = Some(Instant::now() + CLOSE_GRACE);
                }
                // Mid-frame a close frame would be read as payload: better none.
                () = sleep_until(deadline), if close_by.is_some() => return Ok(Ended::Closed),
                read = self.from.read(&mut buffer) => {
                    let read = read?;
                    if read == 0 {
                        self.to.shutdown().await?;
                        return Ok(Ended::Orderly);
                    }
                    let end = match close_by {
                        Some(_) => self.frames.first_end(&buffer[..read]).unwrap_or(read),
                        None => read,
                    };
                    self.pass(&buffer[..end]).await?;
                }
            }
        }
    }

    async fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.state.note_write(true);
        self.to.write_all(bytes).await?;
        self.state.note_write(false);
        self.bytes += bytes.len() as u64;
        self.frames.advance(bytes);
        Ok(())
    }

    async fn say_goodbye(&mut self) -> io::Result<Ended> {
        self.to.write_all(&GOING_AWAY).await?;
        self.to.shutdown().await?;
        Ok(Ended::Closed)
    }
}

/// Asks for the end of the tunnel: of its instance, or of the router.
struct CloseSignal {
    instance: Option<watch::Receiver<bool>>,
    stage: watch::Receiver<Stage>,
}

impl CloseSignal {
    async fn wait(&mut self) {
        let instance = async {
            match &mut self.instance {
                // The instance outlives its tunnels.
                Some(closing) => drop(closing.wait_for(|closing| *closing).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = instance => {}
            _ = self.stage.wait_for(|stage| *stage >= Stage::Closing) => {}
        }
    }
}

/// Where the frames of a WebSocket stream end: RFC 6455, section 5.2.
#[derive(Clone, Debug, Default)]
struct Frames {
    header: Vec<u8>,
    payload_left: u64,
}

impl Frames {
    fn is_between(&self) -> bool {
        self.header.is_empty() && self.payload_left == 0
    }

    fn advance(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(rest);
        }
    }

    /// The place behind the first frame that ends in `bytes`.
    fn first_end(&self, bytes: &[u8]) -> Option<usize> {
        let mut frames = self.clone();
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = frames.step(rest);
            if frames.is_between() {
                return Some(bytes.len() - rest.len());
            }
        }
        None
    }

    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.payload_left > 0 {
            let skipped = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
            self.payload_left -= skipped as u64;
            return &bytes[skipped..];
        }
        self.header.push(bytes[0]);
        if let Some(payload) = payload_length(&self.header) {
            self.payload_left = payload;
            self.header.clear();
        }
        &bytes[1..]
    }
}

/// None while the header is incomplete.
fn payload_length(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
    let length_bytes = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let extended = header.get(2..2 + length_bytes)?;
    header.get(..2 + length_bytes + mask_bytes)?;
    if length_bytes == 0 {
        return Some(u64::from(second & 0x7f));
    }
    Some(extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)))
}

fn client_socket(upgraded: Upgraded) -> Option<(TcpStream, OwnedSemaphorePermit, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<ClientIo>>().ok()?;
    let (stream, permit) = parts.io.into_inner().take()?;
    Some((stream, permit, parts.read_buf.to_vec()))
}

fn app_socket(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
    let parts = upgraded.downcast::<TokioIo<UpstreamIo>>().ok()?;
    Some((parts.io.into_inner().stream, parts.read_buf.to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: usize, is_masked: bool) -> Vec<u8> {
        let mask_bit = u8::from(is_masked) << 7;
        let mut frame = vec![0x82];
        match payload {
            0..126 => frame.push(mask_bit | payload as u8),
            126..65_536 => {
                frame.push(mask_bit | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask_bit | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0xff, payload + if is_masked { 4 } else { 0 }));
        frame
    }

    proptest! {
        #[test]
        fn frame_ends_are_found_wherever_the_reads_fall(
            sizes in proptest::collection::vec((prop_oneof![0usize..300, 65_000usize..66_000], any::<bool>()), 1..5),
            cut in 1usize..5_000,
        ) {
            let frames: Vec<_> = sizes.iter().map(|(size, masked)| frame(*size, *masked)).collect();
            let stream = frames.concat();
            let mut tracker = Frames::default();
            let mut at = 0;
            let mut ends = Vec::new();
            while at < stream.len() {
                let bytes = &stream[at..stream.len().min(at + cut)];
                let step = tracker.first_end(bytes).unwrap_or(bytes.len());
                tracker.advance(&bytes[..step]);
                at += step;
                if tracker.is_between() {
                    ends.push(at);
                }
            }

            let wanted: Vec<_> = frames.iter().scan(0, |sum, frame| { *sum += frame.len(); Some(*sum) }).collect();
            prop_assert_eq!(ends, wanted);
        }
    }
}
