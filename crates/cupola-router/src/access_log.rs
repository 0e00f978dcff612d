//! The access log: one line per answered request, formatted as gorouter does, written into a buffer
//! of its worker and collected from there.
//!
//! Invariant: bounded. While nobody takes the lines the oldest are dropped and counted.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use cupola_domain::{ids::AppId, time::Timestamp};
use cupola_ports::data_plane::AccessLine;
use http::{HeaderMap, Method, Uri, Version, header};

use crate::{headers, instance::Instance};

/// As in gorouter, so that a line stays below 64 KiB.
const SMALL_BYTES_MAX: usize = 1_000;
const LARGE_BYTES_MAX: usize = 20_000;
/// Of one worker between two collections.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// The parts of a line that are known when the request is forwarded; the rest is put between.
#[derive(Default)]
pub(crate) struct Draft {
    text: String,
    request_end: usize,
    peer_end: usize,
}

/// What is known once the answer is complete.
pub(crate) struct Outcome<'a> {
    pub(crate) app_id: AppId,
    /// None if the router refused before it could choose one.
    pub(crate) instance: Option<&'a Instance>,
    pub(crate) status: u16,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) total: Duration,
    pub(crate) app: Duration,
    pub(crate) router_error: Option<&'a str>,
}

impl Outcome<'_> {
    /// Where no instance was chosen the line is kept beside those of the first.
    pub(crate) fn index(&self) -> u32 {
        self.instance.map_or(0, |instance| instance.index)
    }

    fn push_tail(&self, line: &mut String) {
        match self.instance {
            Some(instance) => line.push_str(&instance.log_tail),
            None => {
                let app_id = self.app_id;
                push_formatted(
                    line,
                    format_args!("app_id:\"{app_id}\" app_index:\"-\" instance_id:\"-\" "),
                );
            }
        }
    }
}

impl Draft {
    /// Host, time and request line.
    pub(crate) fn begin(
        &mut self,
        stamp: &mut Stamp,
        host: &str,
        started: SystemTime,
        (method, uri, version): (&Method, &Uri, Version),
    ) {
        self.text.clear();
        let text = &mut self.text;
        text.push_str(host);
        text.push_str(" - [");
        stamp.write(text, started);
        text.push_str("] \"");
        text.push_str(method.as_str());
        text.push(' ');
        let target = uri.path_and_query().map_or("*", |target| target.as_str());
        push_escaped(text, target.as_bytes(), LARGE_BYTES_MAX);
        let protocol = if version == Version::HTTP_10 { " HTTP/1.0\" " } else { " HTTP/1.1\" " };
        text.push_str(protocol);
        self.request_end = text.len();
    }

    /// What the forwarded headers say.
    pub(crate) fn describe(&mut self, headers: &HeaderMap, peer: &str) {
        let text = &mut self.text;
        push_header(text, headers.get(header::REFERER));
        push_header(text, headers.get(header::USER_AGENT));
        text.push('"');
        text.push_str(peer);
        text.push_str("\" ");
        self.peer_end = text.len();
        text.push_str("x_forwarded_for:");
        push_header(text, headers.get(headers::FORWARDED_FOR));
        text.push_str("x_forwarded_proto:");
        push_header(text, headers.get(headers::FORWARDED_PROTO));
        text.push_str("vcap_request_id:");
        push_header(text, headers.get(headers::REQUEST_ID));
    }

    pub(crate) fn finish(&self, line: &mut String, outcome: &Outcome<'_>) {
        line.push_str(&self.text[..self.request_end]);
        push_number(line, u64::from(outcome.status));
        line.push(' ');
        push_number(line, outcome.received);
        line.push(' ');
        push_number(line, outcome.sent);
        line.push(' ');
        line.push_str(&self.text[self.request_end..self.peer_end]);
        line.push_str(outcome.instance.map_or("\"-\" ", |instance| &instance.log_address));
        line.push_str(&self.text[self.peer_end..]);
        line.push_str("response_time:");
        push_seconds(line, outcome.total);
        line.push_str(" gorouter_time:");
        push_seconds(line, outcome.total.saturating_sub(outcome.app));
        line.push(' ');
        outcome.push_tail(line);
        line.push_str("route_service_url:\"-\" x_cf_routererror:\"");
        push_escaped(line, outcome.router_error.unwrap_or("-").as_bytes(), SMALL_BYTES_MAX);
        line.push('"');
    }
}

/// Remembers the text of the second it wrote last.
#[derive(Default)]
pub(crate) struct Stamp {
    second: i64,
    text: String,
}

impl Stamp {
    fn write(&mut self, out: &mut String, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = Timestamp::from_micros(second.saturating_mul(1_000_000)).rfc3339();
            self.text.pop();
        }
        out.push_str(&self.text);
        out.push('.');
        push_padded(out, since.subsec_nanos(), 100_000_000);
        out.push('Z');
    }
}

fn push_header(out: &mut String, value: Option<&http::HeaderValue>) {
    out.push('"');
    match value.map(http::HeaderValue::as_bytes) {
        None | Some(b"") => out.push('-'),
        Some(value) => push_escaped(out, value, SMALL_BYTES_MAX),
    }
    out.push_str("\" ");
}

/// Quotes as Go's `strconv.Quote` does; what is too long is cut and says so.
fn push_escaped(out: &mut String, value: &[u8], bytes_max: usize) {
    let (value, was_cut) = match value.get(..bytes_max) {
        Some(begin) if value.len() > bytes_max => (begin, true),
        _ => (value, false),
    };
    let is_plain = |byte: &u8| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\';
    match std::str::from_utf8(value) {
        Ok(text) if value.iter().all(is_plain) => out.push_str(text),
        _ => {
            for chunk in value.utf8_chunks() {
                push_chars(out, chunk.valid());
                for byte in chunk.invalid() {
                    push_hex(out, *byte);
                }
            }
        }
    }
    if was_cut {
        out.push_str("...TOO-LONG-TO-LOG--TRUNCATED");
    }
}

fn push_chars(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => push_hex(out, c as u8),
            c if is_printable(c) => out.push(c),
            c if c <= '\u{ffff}' => push_formatted(out, format_args!("\\u{:04x}", c as u32)),
            c => push_formatted(out, format_args!("\\U{:08x}", c as u32)),
        }
    }
}

/// What a terminal would act on is not: other controls, and marks that turn the direction of text.
fn is_printable(c: char) -> bool {
    c == '\'' || c.escape_debug().len() == 1
}

fn push_hex(out: &mut String, byte: u8) {
    push_formatted(out, format_args!("\\x{byte:02x}"));
}

fn push_formatted(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

fn push_number(out: &mut String, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

fn push_seconds(out: &mut String, time: Duration) {
    push_number(out, time.as_secs());
    out.push('.');
    push_padded(out, time.subsec_micros(), 100_000);
}

fn push_padded(out: &mut String, number: u32, mut place: u32) {
    while place > 0 {
        out.push(char::from(b'0' + (number / place % 10) as u8));
        place /= 10;
    }
}

/// Lines in the form they have on the control socket.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: u64,
}

/// Where one worker puts its lines.
#[derive(Default)]
pub(crate) struct AccessBuffer(Mutex<Buffer>);

#[derive(Default)]
struct Buffer {
    batch: Batch,
    lost: u64,
}

impl AccessBuffer {
    pub(crate) fn push(&self, at: SystemTime, app_id: AppId, index: u32, text: &str) {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.batch.bytes.len() + text.len() > BATCH_BYTES_MAX {
            buffer.lost += 1;
            return;
        }
        encode(&mut buffer.batch.bytes, at, app_id, index, text);
        buffer.batch.lines += 1;
    }

    fn take(&self) -> (Batch, u64) {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut buffer.batch), std::mem::take(&mut buffer.lost))
    }
}

/// What waits for control.
pub(crate) struct Spool {
    batches: VecDeque<Batch>,
    bytes: usize,
    bytes_max: usize,
    lost: u64,
}

impl Spool {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, bytes_max, lost: 0 }
    }

    pub(crate) fn collect(&mut self, buffers: &[AccessBuffer]) {
        for buffer in buffers {
            let (batch, lost) = buffer.take();
            self.lost += lost;
            if batch.lines > 0 {
                self.bytes += batch.bytes.len();
                self.batches.push_back(batch);
            }
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.bytes.len();
            self.lost += oldest.lines;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.bytes.len();
        Some(batch)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Back to its place: it was not taken after all.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        self.bytes += batch.bytes.len();
        self.batches.push_front(batch);
    }
}

fn encode(out: &mut Vec<u8>, at: SystemTime, app_id: AppId, index: u32, text: &str) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    out.extend_from_slice(&micros.to_le_bytes());
    out.extend_from_slice(app_id.uuid().as_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The lines of a batch. None if it is not whole.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<Vec<AccessLine>> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let at = i64::from_le_bytes(*bytes.split_off(..8)?.first_chunk()?);
        let app = uuid::Uuid::from_bytes(*bytes.split_off(..16)?.first_chunk()?);
        let index = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
        let length = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
        let text = bytes.split_off(..usize::try_from(length).ok()?)?;
        lines.push(AccessLine {
            at: Timestamp::from_micros(at),
            app_id: AppId::from_uuid(app),
            index,
            text: String::from_utf8_lossy(text).into_owned(),
        });
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use cupola_domain::{
        ids::{InstanceId, ProcessId},
        route_table::Endpoint,
    };
    use http::HeaderValue;

    use super::*;

    fn instance() -> Instance {
        let uuid = uuid::Uuid::from_u128(0xa0a0_a0a0_0000_4000_8000_0000_0000_0001);
        let endpoint = Endpoint {
            instance_id: InstanceId::from_uuid(uuid),
            process_id: ProcessId::from_uuid(uuid),
            index: 3,
            address: "10.1.2.3:8080".parse().unwrap(),
        };
        Instance::new(AppId::from_uuid(uuid), &endpoint)
    }

    fn line(headers: &[(&'static str, &'static str)], router_error: Option<&str>) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let mut draft = Draft::default();
        let started = SystemTime::UNIX_EPOCH + Duration::new(1_835_395_200, 1_002_003);
        let uri = "/a?b=c".parse().unwrap();
        let request = (&Method::GET, &uri, Version::HTTP_11);
        draft.begin(&mut Stamp::default(), "App.example.com:80", started, request);
        draft.describe(&map, "127.0.0.1:5000");
        let mut line = String::new();
        draft.finish(
            &mut line,
            &Outcome {
                app_id: instance().app_id,
                instance: Some(&instance()),
                status: 200,
                received: 0,
                sent: 1234,
                total: Duration::from_micros(1_002_500),
                app: Duration::from_micros(1_000_000),
                router_error,
            },
        );
        line
    }

    #[test]
    fn line_reads_as_gorouter_writes_it() {
        let text = line(
            &[
                ("referer", "http://x/"),
                ("user-agent", "say \"hi\"\\"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-vcap-request-id", "9a"),
            ],
            None,
        );

        assert_eq!(
            text,
            "App.example.com:80 - [2028-02-29T00:00:00.001002003Z] \"GET /a?b=c HTTP/1.1\" 200 0 1234 \
             \"http://x/\" \"say \\\"hi\\\"\\\\\" \"127.0.0.1:5000\" \"10.1.2.3:8080\" \
             x_forwarded_for:\"127.0.0.1\" x_forwarded_proto:\"http\" vcap_request_id:\"9a\" \
             response_time:1.002500 gorouter_time:0.002500 \
             app_id:\"a0a0a0a0-0000-4000-8000-000000000001\" app_index:\"3\" \
             instance_id:\"a0a0a0a0-0000-4000-8000-000000000001\" \
             route_service_url:\"-\" x_cf_routererror:\"-\""
        );
    }

    #[test]
    fn what_is_missing_is_a_dash_and_errors_are_named() {
        let text = line(&[], Some("endpoint_failure (x)"));

        assert!(text.contains(
            " 1234 \"-\" \"-\" \"127.0.0.1:5000\" \"10.1.2.3:8080\" x_forwarded_for:\"-\""
        ));
        assert!(text.ends_with("x_cf_routererror:\"endpoint_failure (x)\""));
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_gets_into_a_line() {
        let mut out = String::new();

        push_escaped(&mut out, "a\u{9b}31m\u{202e}\u{feff}\u{e0001}\u{1}\u{7f}é'漢".as_bytes(), 99);

        assert_eq!(out, "a\\u009b31m\\u202e\\ufeff\\U000e0001\\x01\\x7fé'漢");
    }

    #[test]
    fn batch_survives_the_socket_and_a_cut_one_is_refused() {
        let buffer = AccessBuffer::default();
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(7);
        buffer.push(at, instance().app_id, 3, "one");
        buffer.push(SystemTime::UNIX_EPOCH, instance().app_id, 3, "two");
        let (batch, lost) = buffer.take();

        let lines = decode(&batch.bytes).unwrap();

        assert_eq!((batch.lines, lost), (2, 0));
        assert_eq!(
            (lines[0].at, lines[0].index, &*lines[0].text),
            (Timestamp::from_micros(7), 3, "one")
        );
        assert_eq!(lines[1].text, "two");
        assert!(decode(&batch.bytes[..batch.bytes.len() - 1]).is_none());
    }

    #[test]
    fn spool_drops_the_oldest_and_counts() {
        let mut spool = Spool::new(100);
        for text in ["one", "two", "three"] {
            let buffer = AccessBuffer::default();
            buffer.push(SystemTime::UNIX_EPOCH, instance().app_id, 3, text);
            spool.collect(&[buffer]);
        }

        let first = decode(&spool.pop().unwrap().bytes).unwrap();

        assert_eq!(first[0].text, "two");
        assert_eq!(spool.lost(), 1);
    }
}
