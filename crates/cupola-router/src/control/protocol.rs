//! What is said on the control socket, version 2. It is told by the version that a router does not
//! know what it would drop in silence: 1 has no load balancing and no pooled routes.
//!
//! A frame is a length (32 bits, little endian), a kind (one byte) and that many bytes: JSON, or a
//! batch of access lines, which are too many for JSON. Who connects says one message first: `hello`
//! begins a session (the newest session is the one that is served), anything else is answered alone.
//!
//! Invariant: `listeners` and `drain` mean the same in every version, so that a newer platform can
//! always take over the sockets of an older router and stop it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use cupola_domain::{
    ids::{AppId, InstanceId},
    route_table::RouteTable,
    traffic::RequestCounts,
};
use cupola_ports::data_plane::InstanceTraffic;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{table_owner::Delta, trusted::AddressRange};

pub(crate) const PROTOCOL: u32 = 2;

const KIND_JSON: u8 = 1;
const KIND_ACCESS: u8 = 2;
/// A table of a million routes fits.
const FRAME_BYTES_MAX: usize = 512 << 20;
const HEADER_BYTES: usize = 5;
const FDS_MAX: usize = 32;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToRouter {
    Hello {
        protocol: u32,
    },
    Snapshot {
        table: Arc<RouteTable>,
    },
    Delta(Delta),
    CloseTunnels {
        instance: InstanceId,
    },
    /// Asks for the listening sockets, as ancillary data of the answer.
    Listeners,
    /// Says nothing more; the router closes the connection when it begins to drain.
    Attend,
    /// Stop accepting, finish what is under way, end.
    Drain {
        deadline_ms: Option<u64>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FromRouter {
    Hello {
        protocol: u32,
        pid: u32,
        serving: Option<(u64, u64)>,
    },
    Report(Report),
    /// A table was not taken; the next must be a whole one.
    Refused {
        reason: String,
        serving: Option<(u64, u64)>,
    },
    Listeners {
        protocol: u32,
        pid: u32,
        addresses: Vec<SocketAddr>,
        #[serde(default)]
        serving: Option<(u64, u64)>,
        #[serde(default)]
        trusted_proxies: Vec<AddressRange>,
    },
    Draining,
}

/// Only instances whose numbers changed since the last report of the session.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) serving: Option<(u64, u64)>,
    pub(crate) instances: Vec<(InstanceId, InstanceTraffic)>,
    pub(crate) gone: Vec<InstanceId>,
    pub(crate) access_lines_lost: u64,
    /// How requests ended since the report before; apps without any are left out.
    #[serde(default)]
    pub(crate) counts: Vec<(AppId, RequestCounts)>,
    /// How far back `counts` goes. None from a router that does not count.
    #[serde(default)]
    pub(crate) counted_ms: Option<u64>,
    /// The router makes way for the next one: this is its last report, and the requests that it
    /// still answers are in none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_last: bool,
}

pub(crate) enum Frame<Message> {
    Json(Message),
    Access(Vec<u8>),
}

pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    serde_json::to_writer(&mut frame, message)?;
    let header = header(KIND_JSON, frame.len() - HEADER_BYTES)?;
    frame[..HEADER_BYTES].copy_from_slice(&header);
    Ok(frame)
}

fn header(kind: u8, bytes: usize) -> io::Result<[u8; HEADER_BYTES]> {
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= FRAME_BYTES_MAX);
    let [a, b, c, d] = length.ok_or_else(|| invalid("a frame is too large"))?.to_le_bytes();
    Ok([a, b, c, d, kind])
}

pub(crate) async fn write<Message: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    message: &Message,
) -> io::Result<()> {
    to.write_all(&encode(message)?).await
}

pub(crate) async fn write_access(
    to: &mut (impl AsyncWrite + Unpin),
    batch: &[u8],
) -> io::Result<()> {
    to.write_all(&header(KIND_ACCESS, batch.len())?).await?;
    to.write_all(batch).await
}

pub(crate) async fn read<Message: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Frame<Message>> {
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header).await?;
    let (length, kind) = parse_header(header)?;
    // Grows with what really comes, not with what was announced.
    let mut payload = Vec::with_capacity(length.min(64 << 10));
    let taken = from.take(length as u64).read_to_end(&mut payload).await?;
    if taken < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match kind {
        KIND_ACCESS => Ok(Frame::Access(payload)),
        _ => Ok(Frame::Json(serde_json::from_slice(&payload)?)),
    }
}

fn parse_header([a, b, c, d, kind]: [u8; HEADER_BYTES]) -> io::Result<(usize, u8)> {
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > FRAME_BYTES_MAX || !(KIND_JSON..=KIND_ACCESS).contains(&kind) {
        return Err(invalid("not a frame of the router's control protocol"));
    }
    Ok((length, kind))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Sends one small frame with descriptors; it must fit into the socket's buffer.
pub(crate) fn send_with_fds(
    socket: impl AsFd,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let frame = encode(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(invalid("too many listening sockets to hand over"));
    }
    let sent = sendmsg(&socket, &[IoSlice::new(&frame)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent < frame.len() {
        return Err(invalid("a frame with descriptors did not fit into the socket's buffer"));
    }
    Ok(())
}

/// Receives one JSON frame and the descriptors that came with it. Blocks.
pub(crate) fn receive_with_fds<Message: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<(Message, Vec<OwnedFd>)> {
    let mut fds = Vec::new();
    let mut header = [0; HEADER_BYTES];
    receive_exact(&socket, &mut header, &mut fds)?;
    let (length, _) = parse_header(header)?;
    let mut payload = vec![0; length.min(1 << 20)];
    receive_exact(&socket, &mut payload, &mut fds)?;
    Ok((serde_json::from_slice(&payload)?, fds))
}

fn receive_exact(
    socket: &impl AsFd,
    mut buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<()> {
    while !buffer.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(socket, &mut slices, &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => continue,
            received => received?.bytes,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if received == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[received..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_frame() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let message = FromRouter::Listeners {
            protocol: 1,
            pid: 7,
            addresses: vec![address],
            serving: None,
            trusted_proxies: Vec::new(),
        };

        send_with_fds(&ours, &message, &[listener.as_fd()]).unwrap();
        let (received, mut fds) = receive_with_fds::<FromRouter>(&theirs).unwrap();

        let copy = std::net::TcpListener::from(fds.remove(0));
        assert_eq!(copy.local_addr().unwrap(), address);
        assert!(matches!(received, FromRouter::Listeners { pid: 7, .. }));
    }

    #[test]
    fn first_messages_read_the_same_in_every_version() {
        let text = |message: &ToRouter| serde_json::to_string(message).unwrap();

        assert_eq!(text(&ToRouter::Hello { protocol: 1 }), r#"{"hello":{"protocol":1}}"#);
        assert_eq!(text(&ToRouter::Listeners), r#""listeners""#);
        assert_eq!(
            text(&ToRouter::Drain { deadline_ms: None }),
            r#"{"drain":{"deadline_ms":null}}"#
        );
    }

    #[test]
    fn report_of_a_router_that_does_not_count_is_read() {
        let text = r#"{"report":{"serving":[1,2],"instances":[],"gone":[],"access_lines_lost":3}}"#;

        let message = serde_json::from_str::<FromRouter>(text).unwrap();

        let FromRouter::Report(report) = message else { panic!("no report: {message:?}") };
        assert_eq!((report.serving, report.counted_ms), (Some((1, 2)), None));
    }

    #[test]
    fn counts_are_written_as_they_always_were() {
        let mut counts = RequestCounts::default();
        let latency = std::time::Duration::from_micros(1_500);
        counts.record(cupola_domain::traffic::Ending::Answered { status: 204, latency });

        let report =
            Report { counts: vec![(id(), counts)], counted_ms: Some(250), ..Report::default() };

        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"serving":null,"instances":[],"gone":[],"access_lines_lost":0,"counts":[["00000000-0000-0000-0000-000000000007",{"answers":[0,1,0,0,0],"failed":0,"abandoned":0,"tunnels":0,"latency":[[119,1]]}]],"counted_ms":250}"#
        );
    }

    fn id() -> AppId {
        AppId::from_uuid(uuid::Uuid::from_u128(7))
    }

    #[tokio::test]
    async fn foreign_bytes_are_refused_before_anything_is_allocated() {
        let mut bytes: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

        let error = read::<ToRouter>(&mut bytes).await.err().unwrap();

        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
