//! The app's output: bytes to lines, a rate limit, and a bounded queue towards control.
//!
//! Invariant: a line is either handed to control or counted as lost.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use cupola_domain::time::Timestamp;

use crate::protocol::{Event, Loss, Message};

/// Longer lines are cut into pieces of this size.
const LINE_BYTES_MAX: usize = 60 * 1024;

/// What a line costs beside its text: time, source and index are kept with each. Without it, empty
/// lines would be nearly free, and a limit of a mebibyte would let a million of them through.
const LINE_BYTES_EXTRA: usize = 100;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Hands every line that is whole now to `take`, without its line end.
    pub(super) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let mut text = text;
            while self.partial.len() + text.len() > LINE_BYTES_MAX {
                let (head, tail) = text.split_at(LINE_BYTES_MAX - self.partial.len());
                self.partial.extend_from_slice(head);
                take(&self.partial);
                self.partial.clear();
                text = tail;
            }
            self.partial.extend_from_slice(text);
            if is_whole {
                take(self.partial.strip_suffix(b"\r").unwrap_or(&self.partial));
                self.partial.clear();
            }
        }
    }

    /// The rest, when no more will come.
    pub(super) fn finish(&mut self, take: impl FnOnce(&[u8])) {
        if !self.partial.is_empty() {
            take(&self.partial);
            self.partial.clear();
        }
    }
}

/// Lets through lines of so many bytes per second, and one second's worth at once.
#[derive(Debug)]
pub(super) struct RateLimit {
    /// None is unlimited.
    bytes_per_s: Option<f64>,
    tokens: f64,
    filled: Instant,
}

impl RateLimit {
    pub(super) fn new(bytes_per_s: i64, now: Instant) -> Self {
        let bytes_per_s = u32::try_from(bytes_per_s)
            .ok()
            .or((bytes_per_s > 0).then_some(u32::MAX))
            .map(f64::from);
        Self { bytes_per_s, tokens: bytes_per_s.unwrap_or(0.0), filled: now }
    }

    /// Whether a line with so many bytes of text may pass.
    pub(super) fn allows(&mut self, bytes: usize, now: Instant) -> bool {
        let Some(rate) = self.bytes_per_s else { return true };
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * rate).min(rate);
        self.filled = now;
        #[expect(clippy::cast_precision_loss, reason = "a line is far smaller than 2^52 bytes")]
        let bytes = bytes.saturating_add(LINE_BYTES_EXTRA) as f64;
        // A line larger than a whole second's worth would otherwise never pass.
        if rate > 0.0 && (bytes <= self.tokens || self.tokens >= rate) {
            self.tokens -= bytes;
            return true;
        }
        false
    }
}

/// Events that wait for control, at most so many bytes of them.
#[derive(Debug)]
pub(super) struct Spool {
    waiting: VecDeque<(Vec<u8>, bool)>,
    bytes: usize,
    bytes_max: usize,
    dropped: u64,
}

impl Spool {
    pub(super) fn new(bytes_max: u64) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { waiting: VecDeque::new(), bytes: 0, bytes_max, dropped: 0 }
    }

    /// Takes an event. `keep` are the oldest ones that are being sent just now.
    pub(super) fn push(&mut self, event: &Event, keep: usize) {
        let is_line = matches!(event, Event::Line { .. });
        let encoded = crate::protocol::to_line(event);
        self.bytes += encoded.len();
        self.waiting.push_back((encoded, is_line));
        while self.bytes > self.bytes_max && self.drop_oldest(keep) {}
    }

    fn drop_oldest(&mut self, keep: usize) -> bool {
        // The newest one always stays, and so does what is not a line.
        let last = self.waiting.len().saturating_sub(1);
        let Some(position) = (keep..last).find(|at| self.waiting[*at].1) else { return false };
        if let Some((encoded, _)) = self.waiting.remove(position) {
            self.bytes -= encoded.len();
            self.dropped += 1;
        }
        true
    }

    /// Reports what was dropped since the last time, once there is room to say so.
    pub(super) fn tell_dropped(&mut self, keep: usize) {
        if self.dropped > 0 {
            let lines = std::mem::take(&mut self.dropped);
            let told = crate::protocol::to_line(&Event::Lost { lines, why: Loss::Spool });
            self.bytes += told.len();
            let position = keep.min(self.waiting.len());
            self.waiting.insert(position, (told, false));
        }
    }

    /// The encoded events from the oldest on.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.waiting.iter().map(|(encoded, _)| encoded.as_slice())
    }

    /// Forgets the oldest ones: they have been sent.
    pub(super) fn sent(&mut self, count: usize) {
        for _ in 0..count {
            if let Some((encoded, _)) = self.waiting.pop_front() {
                self.bytes -= encoded.len();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.dropped == 0
    }
}

/// Counts lines over the rate limit and tells them once a second.
#[derive(Debug, Default)]
pub(super) struct OverRate {
    lines: u64,
    told: Option<Instant>,
}

impl OverRate {
    const INTERVAL: Duration = Duration::from_secs(1);

    pub(super) fn count(&mut self) {
        self.lines += 1;
    }

    /// What to tell now.
    pub(super) fn take(&mut self, now: Instant, at_once: bool) -> Option<Event> {
        let is_due = at_once
            || self.told.is_none_or(|told| now.saturating_duration_since(told) >= Self::INTERVAL);
        if self.lines == 0 || !is_due {
            return None;
        }
        self.told = Some(now);
        Some(Event::Lost { lines: std::mem::take(&mut self.lines), why: Loss::RateLimit })
    }

    pub(super) fn wants_timer(&self) -> bool {
        self.lines > 0
    }
}

/// Which of the pipes a line came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    /// Counted from 0; none is the instance's first program.
    pub(super) sidecar: Option<u16>,
    pub(super) stderr: bool,
}

/// A line as an event.
pub(super) fn line(at: Timestamp, stream: Stream, bytes: &[u8]) -> Event {
    let Stream { sidecar, stderr } = stream;
    Event::Line { at, stderr, sidecar, message: Message::of(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut taken = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| taken.push(line.to_vec()));
        }
        lines.finish(|line| taken.push(line.to_vec()));
        taken
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let lines = lines_of(&[b"one\ntw", b"o\r\n\nthr", b"ee"]);

        assert_eq!(lines, [b"one".to_vec(), b"two".to_vec(), b"".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = vec![b'x'; LINE_BYTES_MAX * 2 + 5];

        let lines = lines_of(&[&long]);

        assert_eq!(
            lines.iter().map(Vec::len).collect::<Vec<_>>(),
            [LINE_BYTES_MAX, LINE_BYTES_MAX, 5]
        );
    }

    #[test]
    fn the_rate_limit_lets_a_second_through_and_refills() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1000, start);

        assert!(limit.allows(500, start));
        assert!(!limit.allows(500, start));
        assert!(limit.allows(500, start + Duration::from_millis(300)));
    }

    #[test]
    fn empty_lines_are_not_free() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1000, start);

        let passed = (0..1000).filter(|_| limit.allows(0, start)).count();

        assert_eq!(passed, 10);
    }

    #[test]
    fn minus_one_is_no_limit_and_zero_lets_nothing_through() {
        let start = Instant::now();

        assert!(RateLimit::new(-1, start).allows(usize::MAX, start));
        assert!(!RateLimit::new(0, start).allows(1, start));
    }

    #[test]
    fn a_full_spool_drops_the_oldest_lines_and_counts_them() {
        let mut spool = Spool::new(400);
        let at = Timestamp::from_micros(0);

        for number in 0..10 {
            spool.push(&line(at, Stream::default(), format!("{number}").as_bytes()), 0);
        }
        spool.tell_dropped(0);

        let sent: Vec<String> =
            spool.iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect();
        let lines = sent.iter().filter(|event| event.contains("\"line\"")).count();
        assert!(sent[0].contains(&format!("\"lines\":{}", 10 - lines)), "{sent:?}");
        assert!(sent.last().unwrap().contains("\"9\""));
    }
}
