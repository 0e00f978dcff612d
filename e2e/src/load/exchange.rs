//! One request and its answer, on a connection that is kept where it may be.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{Kind, Shared, Trouble};

pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const LARGE_BYTES: usize = 2 << 20;
const PIECE_BYTES: usize = 16 << 10;
const PIECES: usize = 8;

pub(super) type Connection = BufReader<TcpStream>;

pub(super) fn connect(router: SocketAddr) -> Result<Connection, Trouble> {
    let stream = TcpStream::connect_timeout(&router, PATIENCE).map_err(Trouble::Refused)?;
    let prepare = || {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))
    };
    prepare().map_err(|error: io::Error| Trouble::Broken(error.to_string()))?;
    Ok(BufReader::new(stream))
}

/// The connection stays in its place if another request may follow.
pub(super) fn run(
    shared: &Shared,
    kind: Kind,
    place: &mut Option<Connection>,
) -> Result<(), Trouble> {
    let mut connection = match place.take() {
        Some(connection) => connection,
        None => connect(shared.router)?,
    };
    if let Err(error) = send(connection.get_mut(), &shared.host, kind) {
        // It may have been answered before it was sent whole.
        let is_silent = matches!(connection.fill_buf(), Err(_) | Ok([]));
        if is_silent {
            return Err(Trouble::Unanswered(format!("{kind:?}, sending: {error}")));
        }
    }
    let answer = read(&mut connection).map_err(|trouble| trouble.about(kind))?;
    if answer.status != 200 || answer.body != expected(kind, &answer.body) {
        let start: String = answer.body.chars().take(120).collect();
        return Err(Trouble::Wrong(format!("{kind:?}: {} {start:?}", answer.head)));
    }
    if answer.may_go_on {
        *place = Some(connection);
    }
    Ok(())
}

fn send(stream: &mut TcpStream, host: &str, kind: Kind) -> io::Result<()> {
    let (line, length) = match kind {
        Kind::Slow => ("GET /slow", String::new()),
        Kind::Chunked => ("POST /upload", "Transfer-Encoding: chunked\r\n".to_owned()),
        Kind::Large => ("POST /upload", format!("Content-Length: {LARGE_BYTES}\r\n")),
        Kind::Plain | Kind::Tunnel => ("GET /", String::new()),
    };
    let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n");
    stream.write_all(head.as_bytes())?;
    match kind {
        Kind::Chunked => {
            let mut piece = format!("{PIECE_BYTES:x}\r\n").into_bytes();
            piece.extend([b'x'; PIECE_BYTES]);
            piece.extend(b"\r\n");
            for _ in 0..PIECES {
                stream.write_all(&piece)?;
                std::thread::sleep(Duration::from_millis(50));
            }
            stream.write_all(b"0\r\n\r\n")
        }
        Kind::Large => stream.write_all(&vec![b'x'; LARGE_BYTES]),
        Kind::Plain | Kind::Slow | Kind::Tunnel => Ok(()),
    }
}

/// What the app answers, so far as it is known.
fn expected(kind: Kind, body: &str) -> String {
    match kind {
        Kind::Slow => format!("{}end\n", "piece\n".repeat(10)),
        Kind::Chunked => format!("{}\n", PIECE_BYTES * PIECES),
        Kind::Large => format!("{LARGE_BYTES}\n"),
        Kind::Plain | Kind::Tunnel => body.to_owned(),
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// Its first line and what the router says of an error.
    pub(super) head: String,
    body: String,
    may_go_on: bool,
}

impl Trouble {
    fn about(self, kind: Kind) -> Self {
        match self {
            Self::Unanswered(why) => Self::Unanswered(format!("{kind:?}: {why}")),
            Self::Broken(why) => Self::Broken(format!("{kind:?}: {why}")),
            other => other,
        }
    }
}

fn read(connection: &mut Connection) -> Result<Answer, Trouble> {
    let head = read_head(connection)?;
    let broken = |error: io::Error| Trouble::Broken(format!("{error} in the body of {head:?}"));
    let value = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let body = if value("transfer-encoding").is_some() {
        read_chunks(connection).map_err(broken)?
    } else {
        let length = value("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        connection.read_exact(&mut body).map_err(broken)?;
        body
    };
    let first = head.lines().next().unwrap_or_default();
    Ok(Answer {
        status: first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0),
        may_go_on: value("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")),
        body: String::from_utf8_lossy(&body).into_owned(),
        head: format!("{first} {}", value("x-cf-routererror").unwrap_or_default()),
    })
}

pub(super) fn read_head(connection: &mut Connection) -> Result<String, Trouble> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let why = match connection.read_line(&mut head) {
            Ok(0) => "the connection was closed".to_owned(),
            Ok(_) => continue,
            Err(error) => error.to_string(),
        };
        return Err(match head.is_empty() {
            true => Trouble::Unanswered(why),
            false => Trouble::Broken(format!("{why} in {head:?}")),
        });
    }
    Ok(head)
}

fn read_chunks(connection: &mut Connection) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16);
        let size = size.map_err(|_| io::Error::other(format!("cut at {line:?}")))?;
        let mut piece = vec![0; size + 2];
        connection.read_exact(&mut piece)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&piece[..size]);
    }
}
