//! A strict look at the bytes of a client before hyper sees them.
//!
//! hyper repairs some ambiguous framings instead of rejecting them: of `Content-Length` together
//! with `Transfer-Encoding` it silently drops the first, and it takes a bare line feed for a line
//! end. Such repairs are where request smuggling lives, so that this gate follows the framing of
//! every request and spoils the bytes of one that is ambiguous: hyper then fails to parse it,
//! answers 400 and closes, after it has answered everything that came before.
//!
//! Invariant: the gate only ever forbids. A request it passes is still parsed by hyper alone.

const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Gate {
    state: State,
    /// The begin of a line whose end has not been read yet.
    carry: Vec<u8>,
    head: Head,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Empty lines before a request line are allowed by RFC 9112, section 2.2.
    #[default]
    RequestLine,
    Headers,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    /// An upgrade was asked for: what follows may be another protocol.
    Paused,
    /// Nothing that follows is looked at: the connection was rejected.
    Rejected,
}

#[derive(Default)]
struct Head {
    length: Option<u64>,
    is_chunked: bool,
    hosts: u8,
    has_upgrade: bool,
}

impl Gate {
    /// True behind a request that may become a tunnel.
    pub(crate) fn is_paused(&self) -> bool {
        self.state == State::Paused
    }

    /// The upgrade was refused: the next request follows.
    pub(crate) fn resume(&mut self) {
        self.state = State::RequestLine;
    }

    /// True if something went by unscanned.
    pub(crate) fn scan(&mut self, bytes: &mut [u8]) -> bool {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            match self.state {
                State::Body(left) => at += self.skip(left, rest.len(), State::Body),
                State::Chunk(left) => at += self.skip(left, rest.len(), State::Chunk),
                State::Paused => return true,
                State::Rejected => {
                    rest.fill(0);
                    return false;
                }
                _ => match self.line(rest) {
                    Some(used) => at += used,
                    None => {
                        self.state = State::Rejected;
                        rest.fill(0);
                        return false;
                    }
                },
            }
        }
        false
    }

    fn skip(&mut self, left: u64, available: usize, then: impl Fn(u64) -> State) -> usize {
        let used = usize::try_from(left).unwrap_or(usize::MAX).min(available);
        let left = left - used as u64;
        self.state = match (left, self.state) {
            (0, State::Chunk(_)) => State::ChunkEnd,
            (0, _) => State::RequestLine,
            _ => then(left),
        };
        used
    }

    /// Takes one line, or what there is of it. None if it is not allowed.
    fn line(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            self.carry.extend_from_slice(rest);
            return (self.carry.len() <= LINE_BYTES_MAX).then_some(rest.len());
        };
        let line = &rest[..=end];
        let is_allowed = if self.carry.is_empty() {
            self.take(line)
        } else {
            let mut whole = std::mem::take(&mut self.carry);
            whole.extend_from_slice(line);
            self.take(&whole)
        };
        is_allowed.then_some(end + 1)
    }

    /// One whole line. False if it is not allowed.
    fn take(&mut self, line: &[u8]) -> bool {
        let Some(line) = without_line_end(line) else { return false };
        match self.state {
            State::RequestLine if line.is_empty() => true,
            State::RequestLine => {
                self.head = Head::default();
                self.state = State::Headers;
                true
            }
            State::Headers if line.is_empty() => self.end_head(),
            State::Headers => self.header(line),
            State::ChunkSize => self.chunk_size(line),
            State::ChunkEnd => {
                self.state = State::ChunkSize;
                line.is_empty()
            }
            State::Trailers => {
                if line.is_empty() {
                    self.state = State::RequestLine;
                }
                true
            }
            State::Body(_) | State::Chunk(_) | State::Paused | State::Rejected => false,
        }
    }

    fn header(&mut self, line: &[u8]) -> bool {
        match line[0] | 0x20 {
            b'c' => match value_of(line, b"content-length") {
                Some(value) => self.content_length(value),
                None => true,
            },
            b't' => match value_of(line, b"transfer-encoding") {
                Some(value) => {
                    let is_first = !self.head.is_chunked;
                    self.head.is_chunked = true;
                    is_first && value.eq_ignore_ascii_case(b"chunked")
                }
                None => true,
            },
            b'h' => {
                self.head.hosts += u8::from(value_of(line, b"host").is_some());
                self.head.hosts < 2
            }
            b'u' => {
                self.head.has_upgrade |= value_of(line, b"upgrade").is_some();
                true
            }
            // A continuation line (obs-fold, RFC 9112, section 5.2).
            _ => line[0] != b' ' && line[0] != b'\t',
        }
    }

    fn content_length(&mut self, value: &[u8]) -> bool {
        let length = std::str::from_utf8(value)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok());
        length.is_some() && self.head.length.replace(length.unwrap_or(0)).is_none()
    }

    fn end_head(&mut self) -> bool {
        self.state = match (self.head.is_chunked, self.head.length) {
            (true, Some(_)) => return false,
            (true, None) => State::ChunkSize,
            (false, None | Some(0)) if self.head.has_upgrade => State::Paused,
            (false, None | Some(0)) => State::RequestLine,
            (false, Some(length)) => State::Body(length),
        };
        true
    }

    /// Chunk extensions are allowed and never forwarded (RFC 9112, section 7.1.1).
    fn chunk_size(&mut self, line: &[u8]) -> bool {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = &line[digits..];
        let is_plain = rest.is_empty() || rest[0] == b';' || rest[0] == b' ' || rest[0] == b'\t';
        let size = std::str::from_utf8(&line[..digits])
            .ok()
            .and_then(|text| u64::from_str_radix(text, 16).ok());
        match size {
            Some(0) if is_plain => self.state = State::Trailers,
            Some(size) if is_plain => self.state = State::Chunk(size),
            _ => return false,
        }
        true
    }
}

/// None if the line ends with a bare line feed or has a carriage return or NUL inside.
fn without_line_end(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r\n")?;
    (!line.iter().any(|byte| *byte == b'\r' || *byte == 0)).then_some(line)
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    if !found.eq_ignore_ascii_case(name) {
        return None;
    }
    // hyper rejects a space before the colon; here it must not hide the header.
    rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn passes(request: &str) -> bool {
        let mut bytes = request.as_bytes().to_vec();
        Gate::default().scan(&mut bytes);
        bytes == request.as_bytes()
    }

    #[test]
    fn ordinary_requests_pass_untouched() {
        assert!(passes(GET));
        assert!(passes(&format!("{GET}{GET}")));
        assert!(passes(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\nbGET / HTTP/1.1\r\n"
        ));
        assert!(passes(&format!("{CHUNKED}3;x=y\r\na\nb\r\n0\r\nA: b\r\n\r\n{GET}")));
    }

    #[test]
    fn ambiguous_framing_is_spoilt() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\n";
        let bad = [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "Transfer-Encoding: gzip, chunked\r\n\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "Content-Length: 1, 1\r\n\r\n",
            "Content-Length: +1\r\n\r\n",
            "HOST: b\r\n\r\n",
            "A: b\n\r\n",
            "A: b\r\n\n",
            "A: b\rc\r\n\r\n",
            "A: b\0c\r\n\r\n",
            "A: b\r\n c\r\n\r\n",
        ];
        for case in bad {
            assert!(!passes(&format!("{head}{case}")), "{case:?}");
        }
        let bad_chunks =
            ["1\na\r\n", "1;x\ny\r\na\r\n", "1\r\na\n0\r\n", "1\r\nab\r\n", "x\r\n", "\r\n"];
        for case in bad_chunks {
            assert!(!passes(&format!("{CHUNKED}{case}")), "{case:?}");
        }
    }

    proptest! {
        #[test]
        fn where_the_reads_fall_makes_no_difference(cuts in proptest::collection::vec(1usize..9, 0..99)) {
            let text = format!("{GET}{CHUNKED}a\r\n0123456789\r\n0\r\n\r\n{GET}POST / HTTP/1.1\r\n\
                Content-Length: 4\r\nHost: a\r\n\r\n\r\n\r\n{CHUNKED}5\r\n01234\r\n0\r\n\r\nX: y\r\n\r\n");
            let mut whole = text.clone().into_bytes();
            Gate::default().scan(&mut whole);

            let mut pieces = text.into_bytes();
            let (mut gate, mut at) = (Gate::default(), 0usize);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let end = at.saturating_add(cut).min(pieces.len());
                gate.scan(&mut pieces[at..end]);
                at = end;
            }

            prop_assert_eq!(whole, pieces);
        }
    }
}
