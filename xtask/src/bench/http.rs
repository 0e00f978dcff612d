//! A plain HTTP/1.1 client that keeps its connection.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long an answer may take; the API holds some for 20 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) authorization: &'a str,
    pub(super) json: &'a str,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Client {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    pub(crate) fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        self.send(Request { method: "GET", host, path, authorization: "", json: "" })
    }

    /// Again on a new connection, if the kept one had been closed meanwhile.
    pub(super) fn send(&mut self, request: Request<'_>) -> io::Result<Answer> {
        let text = request.text();
        if let Some(kept) = self.connection.take()
            && let Ok(answer) = self.exchange(kept, &text)
        {
            return Ok(answer);
        }
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        self.exchange(BufReader::new(stream), &text)
    }

    fn exchange(
        &mut self,
        mut connection: BufReader<TcpStream>,
        request: &str,
    ) -> io::Result<Answer> {
        connection.get_mut().write_all(request.as_bytes())?;
        let head = Head::read(&mut connection)?;
        let body = head.read_body(&mut connection)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if head.is_kept {
            self.connection = Some(connection);
        }
        Ok(Answer { status: head.status, body })
    }
}

impl Request<'_> {
    fn text(&self) -> String {
        use std::fmt::Write as _;
        let Self { method, host, path, authorization, json } = self;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        if !authorization.is_empty() {
            let _ = write!(text, "Authorization: {authorization}\r\n");
        }
        if *method != "GET" {
            let length = json.len();
            let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {length}\r\n");
        }
        text + "\r\n" + json
    }
}

struct Head {
    status: u16,
    length: Option<usize>,
    is_chunked: bool,
    is_kept: bool,
}

impl Head {
    fn read(connection: &mut impl BufRead) -> io::Result<Self> {
        let first = line(connection)?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| malformed(&first))?;
        let mut head = Self { status, length: None, is_chunked: false, is_kept: true };
        loop {
            let line = line(connection)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            head.take(&name.to_lowercase(), value.trim());
        }
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            "content-length" => self.length = value.parse().ok(),
            "transfer-encoding" => self.is_chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => self.is_kept = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }

    fn read_body(&self, connection: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if matches!(self.status, 204 | 304) {
            return Ok(body);
        }
        match (self.is_chunked, self.length) {
            (true, _) => read_chunks(connection, &mut body)?,
            (false, Some(length)) => {
                body.resize(length, 0);
                connection.read_exact(&mut body)?;
            }
            (false, None) => {
                connection.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }
}

fn read_chunks(connection: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(connection)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| malformed(&size))?;
        let taken = connection.by_ref().take(size as u64).read_to_end(body)?;
        if taken < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line(connection)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(connection: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn malformed(line: &str) -> io::Error {
    io::Error::other(format!("not an HTTP answer: {line}"))
}
