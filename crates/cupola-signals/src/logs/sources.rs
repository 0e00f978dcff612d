//! What is in memory: per source the lines that are not written yet, and its losses.
//!
//! Times are made unique per source here. A line whose microsecond is taken moves to a later free
//! one, in the order of arrival. A line that is up to two seconds older than what was written
//! already (its instance was a little behind) moves behind that, so that a client that reads on
//! from the newest line it saw does not miss it. A line that is older still was kept somewhere, or
//! the clock was set back: it keeps its time, and is unique among the lines that wait with it.
//!
//! Invariant: nothing here waits or reaches the disk, and every lock of it is held for a short
//! and bounded time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use cupola_domain::time::Timestamp;
use cupola_ports::logs::{LogLine, LogQuery, LogStream, LogTotals};

use super::{LogLimits, taken::Taken};

/// How much a line may be behind what was written and still be put after it.
const BEHIND_MICROS_MAX: i64 = 2_000_000;

/// How often one source is told about its losses.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long lines of a source that was forgotten are refused. Its instances are still ending then,
/// and what they say would bring its log back for good.
const REFUSE_FOR: Duration = Duration::from_secs(10 * 60);

/// What a line costs in memory beyond its message.
const LINE_OVERHEAD_BYTES: usize = 200;

/// Lines of one source by their time.
pub(super) type Lines = BTreeMap<i64, LogLine>;

/// The open lines of one source, on their way to the file.
pub(super) struct Batch {
    pub(super) source_id: String,
    pub(super) lines: Arc<Lines>,
}

pub(super) struct Sources {
    by_id: HashMap<String, Source>,
    /// Since when.
    forgotten: HashMap<String, Duration>,
    limits: LogLimits,
    open: Load,
    unwritten: Load,
    totals: LogTotals,
}

/// Lines and the memory they take.
#[derive(Clone, Copy, Default)]
struct Load {
    lines: usize,
    bytes: usize,
}

struct Source {
    open: Lines,
    /// Of `open` and `sealing`.
    unwritten: Load,
    sealing: Option<Arc<Lines>>,
    /// The newest line that left `open`.
    written_until: i64,
    /// The times of `open` and `sealing`.
    taken: Taken,
    lost: Lost,
}

#[derive(Default)]
struct Lost {
    in_queue: u64,
    before: u64,
    told_at: Option<Duration>,
}

impl Sources {
    /// `newest` names the sources that are in the file and their newest lines.
    pub(super) fn new(limits: LogLimits, newest: Vec<(String, i64)>) -> Self {
        let by_id = newest.into_iter().map(|(id, at)| (id, Source::new(at))).collect();
        Self {
            by_id,
            forgotten: HashMap::new(),
            limits,
            open: Load::default(),
            unwritten: Load::default(),
            totals: LogTotals::default(),
        }
    }

    /// Takes a line, or counts it as lost. Says whether the writer should be woken.
    pub(super) fn append(&mut self, line: LogLine) -> bool {
        if self.forgotten.contains_key(&line.source_id) {
            return false;
        }
        let cost = Load::of(&line);
        let (total, limits) = (self.unwritten, self.limits);
        let source = self.source(&line.source_id);
        // Half of the queue for each: one flooding app does not silence all others.
        let is_full = !total.fits(limits.queue_lines_max, limits.queue_bytes_max)
            || !source.unwritten.fits(limits.queue_lines_max / 2, limits.queue_bytes_max / 2);
        if is_full {
            source.lost.in_queue += 1;
            self.totals.lost += 1;
            return true;
        }

        source.insert(line, cost);
        self.totals.taken += 1;
        self.open.add(cost);
        self.unwritten.add(cost);
        // Not earlier: writing rarely makes large chunks, and large chunks cost least per line.
        !self.open.fits(limits.queue_lines_max / 4, limits.queue_bytes_max / 4)
    }

    pub(super) fn lost(&mut self, source_id: &str, lines: u64) {
        if self.forgotten.contains_key(source_id) {
            return;
        }
        self.source(source_id).lost.before += lines;
        self.totals.lost += lines;
    }

    /// The unwritten lines that the query asks for, in its order.
    pub(super) fn read(&self, query: &LogQuery) -> Vec<LogLine> {
        let Some(source) = self.by_id.get(&query.source_id) else { return Vec::new() };
        let parts = source.sealing.as_deref().into_iter().chain([&source.open]);
        let mut lines: Vec<_> = parts.flat_map(|lines| matching(lines, query)).collect();
        lines.sort_by_key(|line| line.at);
        if query.descending {
            lines.reverse();
        }
        lines.truncate(query.lines_max);
        lines
    }

    /// Moves all open lines to where the writer finds them, with those of a write that failed.
    /// Readers go on seeing them.
    pub(super) fn seal(&mut self, now: Timestamp, monotonic: Duration) -> Vec<Batch> {
        self.forgotten.retain(|_, since| monotonic.saturating_sub(*since) < REFUSE_FOR);
        for (source_id, source) in &mut self.by_id {
            if let Some(message) = source.lost.tell(monotonic) {
                let line = notice(now, source_id, message);
                let cost = Load::of(&line);
                source.insert(line, cost);
                self.unwritten.add(cost);
            }
        }
        self.open = Load::default();
        let sealed = self.by_id.iter_mut().filter_map(|(source_id, source)| {
            source.seal().map(|lines| Batch { source_id: source_id.clone(), lines })
        });
        sealed.collect()
    }

    /// The lines of `seal` are in the file now.
    pub(super) fn written(&mut self, batches: &[Batch], evicted: u64) {
        self.totals.evicted += evicted;
        for batch in batches {
            let cost = Load::of_all(&batch.lines);
            self.unwritten.remove(cost);
            if let Some(source) = self.by_id.get_mut(&batch.source_id) {
                source.sealing = None;
                source.unwritten.remove(cost);
                source.taken = source.open.keys().copied().collect();
            }
        }
    }

    pub(super) fn evicted(&mut self, lines: u64) {
        self.totals.evicted += lines;
    }

    /// Drops what is known of a source, and refuses its lines for a while.
    pub(super) fn forget(&mut self, source_id: &str, monotonic: Duration) {
        self.forgotten.insert(source_id.to_owned(), monotonic);
        let Some(source) = self.by_id.remove(source_id) else { return };
        self.unwritten.remove(source.unwritten);
        self.open.remove(Load::of_all(&source.open));
    }

    pub(super) fn totals(&self) -> LogTotals {
        self.totals
    }

    fn source(&mut self, source_id: &str) -> &mut Source {
        // Looked up twice, because `entry` would allocate the key for every line.
        if !self.by_id.contains_key(source_id) {
            self.by_id.insert(source_id.to_owned(), Source::new(i64::MIN));
        }
        self.by_id.get_mut(source_id).expect("it was inserted above")
    }
}

impl Source {
    fn new(written_until: i64) -> Self {
        Self {
            open: Lines::new(),
            unwritten: Load::default(),
            sealing: None,
            written_until,
            taken: Taken::default(),
            lost: Lost::default(),
        }
    }

    fn insert(&mut self, mut line: LogLine, cost: Load) {
        let at = self.free_time(line.at.micros());
        line.at = Timestamp::from_micros(at);
        self.open.insert(at, line);
        self.unwritten.add(cost);
    }

    /// The time that a line gets: its own, or a later one that no line of this source has.
    fn free_time(&mut self, at: i64) -> i64 {
        let at = at.clamp(0, i64::MAX / 2);
        let behind = self.written_until.saturating_sub(at);
        let is_a_little_behind = (0..=BEHIND_MICROS_MAX).contains(&behind);
        self.taken.take(if is_a_little_behind { self.written_until + 1 } else { at })
    }

    fn seal(&mut self) -> Option<Arc<Lines>> {
        let mut lines = std::mem::take(&mut self.open);
        if let Some((&newest, _)) = lines.last_key_value() {
            self.written_until = self.written_until.max(newest);
        }
        // What is still here could not be written the last time.
        if let Some(unwritten) = self.sealing.take() {
            lines.append(&mut Arc::unwrap_or_clone(unwritten));
        }
        if lines.is_empty() {
            return None;
        }
        let lines = Arc::new(lines);
        self.sealing = Some(Arc::clone(&lines));
        Some(lines)
    }
}

impl Load {
    fn of(line: &LogLine) -> Self {
        Self { lines: 1, bytes: line.message.len() + LINE_OVERHEAD_BYTES }
    }

    fn of_all(lines: &Lines) -> Self {
        let mut all = Self::default();
        for line in lines.values() {
            all.add(Self::of(line));
        }
        all
    }

    fn add(&mut self, more: Self) {
        self.lines += more.lines;
        self.bytes += more.bytes;
    }

    fn remove(&mut self, less: Self) {
        self.lines = self.lines.saturating_sub(less.lines);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }

    fn fits(self, lines_max: usize, bytes_max: usize) -> bool {
        self.lines < lines_max && self.bytes < bytes_max
    }
}

impl Lost {
    /// What to say about lines that were lost, if it is time to say it.
    fn tell(&mut self, monotonic: Duration) -> Option<String> {
        let is_too_early = self.told_at.is_some_and(|at| monotonic.saturating_sub(at) < TELL_EVERY);
        if self.in_queue + self.before == 0 || is_too_early {
            return None;
        }
        self.told_at = Some(monotonic);
        let in_queue = sentence(
            std::mem::take(&mut self.in_queue),
            "the log queue was full: they came faster than they could be stored",
        );
        let before = sentence(
            std::mem::take(&mut self.before),
            "they came faster than they could be taken over, or faster than their limit",
        );
        Some(in_queue.into_iter().chain(before).collect::<Vec<_>>().join("; "))
    }
}

fn sentence(lines: u64, cause: &str) -> Option<String> {
    let noun = if lines == 1 { "line was" } else { "lines were" };
    (lines > 0).then(|| format!("{lines} {noun} lost because {cause}"))
}

/// A line from the log store itself, in the log of the app that it is about.
pub(super) fn notice(at: Timestamp, source_id: &str, message: String) -> LogLine {
    LogLine {
        at,
        source_id: source_id.to_owned(),
        source_type: "LGR".to_owned(),
        instance: "0".to_owned(),
        stream: LogStream::Err,
        message: message.into_bytes(),
    }
}

fn matching(lines: &Lines, query: &LogQuery) -> Vec<LogLine> {
    let range = lines.range(query.from.micros()..=query.until.micros());
    let taken: Vec<&LogLine> = if query.descending {
        range.rev().take(query.lines_max).map(|(_, line)| line).collect()
    } else {
        range.take(query.lines_max).map(|(_, line)| line).collect()
    };
    taken.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_510_800_000_000);

    fn line(source_id: &str, at: i64) -> LogLine {
        LogLine {
            at: Timestamp::from_micros(at),
            source_id: source_id.to_owned(),
            source_type: "APP/PROC/WEB".to_owned(),
            instance: "0".to_owned(),
            stream: LogStream::Out,
            message: at.to_string().into_bytes(),
        }
    }

    fn sources(queue_lines_max: usize) -> Sources {
        Sources::new(LogLimits { queue_lines_max, ..LogLimits::default() }, Vec::new())
    }

    fn read(sources: &Sources, source_id: &str) -> Vec<LogLine> {
        sources.read(&LogQuery {
            source_id: source_id.to_owned(),
            from: Timestamp::from_micros(0),
            until: Timestamp::from_micros(i64::MAX),
            lines_max: usize::MAX,
            descending: false,
        })
    }

    fn times(sources: &Sources) -> Vec<i64> {
        read(sources, "app").iter().map(|line| line.at.micros()).collect()
    }

    #[test]
    fn equal_times_are_spread_in_the_order_of_arrival() {
        let mut sources = sources(100);

        for at in [10, 10, 11, 10] {
            sources.append(line("app", at));
        }

        let read = read(&sources, "app");
        let messages: Vec<_> = read.iter().map(|line| line.message.as_slice()).collect();
        assert_eq!(times(&sources), [10, 11, 12, 13]);
        assert_eq!(messages, [b"10", b"10", b"11", b"10"]);
    }

    #[test]
    fn line_a_little_behind_what_was_written_goes_after_it() {
        let mut sources = sources(100);
        sources.append(line("app", 5_000_000));
        let batches = sources.seal(NOW, Duration::ZERO);
        sources.written(&batches, 0);

        sources.append(line("app", 4_000_000));

        assert_eq!(times(&sources), [5_000_001]);
    }

    #[test]
    fn clock_that_was_set_back_does_not_hold_lines_in_the_future() {
        let mut sources = sources(100);
        sources.append(line("app", 9_000_000_000));
        let batches = sources.seal(NOW, Duration::ZERO);
        sources.written(&batches, 0);

        sources.append(line("app", 5_000_000));

        assert_eq!(times(&sources), [5_000_000]);
    }

    #[test]
    fn flooding_source_leaves_half_of_the_queue_to_others() {
        let mut sources = sources(10);
        for at in 0..20 {
            sources.append(line("flood", at));
        }

        sources.append(line("quiet", 1));

        assert_eq!(read(&sources, "flood").len(), 5);
        assert_eq!(read(&sources, "quiet").len(), 1);
        assert_eq!(sources.totals(), LogTotals { taken: 6, lost: 15, evicted: 0 });
    }

    #[test]
    fn lines_of_a_forgotten_source_are_refused_for_a_while() {
        let mut sources = sources(100);
        sources.append(line("app", 1));

        sources.forget("app", Duration::ZERO);
        sources.append(line("app", 2));
        sources.lost("app", 3);
        sources.seal(NOW, REFUSE_FOR / 2);
        let while_it_ends = read(&sources, "app").len();
        sources.seal(NOW, REFUSE_FOR);
        sources.append(line("app", 4));

        assert_eq!(while_it_ends, 0);
        assert_eq!(times(&sources), [4]);
    }

    #[test]
    fn losses_are_told_with_their_cause_and_not_too_often() {
        let mut sources = sources(100);
        sources.lost("app", 3);
        sources.seal(NOW, Duration::ZERO);
        sources.lost("app", 1);
        sources.seal(NOW, Duration::from_secs(1));

        let told = read(&sources, "app");

        assert_eq!(told.len(), 1);
        assert_eq!(told[0].source_type, "LGR");
        assert!(told[0].message.starts_with(b"3 lines were lost because they came faster"));

        sources.seal(NOW, Duration::from_secs(11));
        let told = read(&sources, "app");
        assert_eq!(told.len(), 2);
        assert!(told[1].message.starts_with(b"1 line was lost because"));
    }

    #[test]
    fn lines_that_could_not_be_written_wait_for_the_next_time() {
        let mut sources = sources(100);
        sources.append(line("app", 1));
        let batches = sources.seal(NOW, Duration::ZERO);
        sources.append(line("app", 2));

        let again = sources.seal(NOW, Duration::ZERO);

        assert_eq!(batches[0].lines.len(), 1);
        assert_eq!(again[0].lines.len(), 2);
        sources.written(&again, 0);
        assert_eq!((sources.unwritten.lines, sources.unwritten.bytes), (0, 0));
    }
}
