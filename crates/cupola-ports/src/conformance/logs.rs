//! What every `LogStore` must do.
//!
//! Each function uses sources of its own, so that all may run on one store, in any order.

use std::time::Duration;

use cupola_domain::time::Timestamp;
use tokio::time::Instant;

use crate::logs::{LogLine, LogQuery, LogStore, LogStream};

/// How long something that happens by itself may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Some time in 2026; stores must not care how it relates to the clock.
const START: i64 = 1_795_510_800_000_000;

/// Runs all of them.
pub async fn all(store: &dyn LogStore) {
    a_line_is_read_right_after_it_was_appended(store).await;
    lines_come_in_the_order_of_their_time(store).await;
    both_ends_of_the_range_are_included(store).await;
    the_newest_lines_come_first_when_asked(store).await;
    a_limit_takes_from_the_side_where_reading_begins(store).await;
    paging_by_the_last_time_plus_one_misses_nothing(store).await;
    sources_do_not_mix(store).await;
    a_forgotten_source_is_empty_and_stays_so(store).await;
    lost_lines_are_told_in_the_log_of_their_source(store).await;
    taken_and_lost_lines_are_counted(store).await;
}

pub async fn a_line_is_read_right_after_it_was_appended(store: &dyn LogStore) {
    let line = LogLine {
        at: Timestamp::from_micros(START),
        source_id: "every-field".to_owned(),
        source_type: "APP/PROC/WORKER".to_owned(),
        instance: "12".to_owned(),
        stream: LogStream::Err,
        message: b"not UTF-8: \xff\xfe\x00".to_vec(),
    };
    store.append(line.clone());

    assert_eq!(read_all(store, "every-field").await, [line], "all of the line comes back");
}

pub async fn lines_come_in_the_order_of_their_time(store: &dyn LogStore) {
    for offset in [30, 10, 20] {
        store.append(line("order", START + offset, "x"));
    }

    // A store may move a line that comes late, so the times themselves are not compared.
    let offsets = offsets(&read_all(store, "order").await);
    assert_eq!(offsets.len(), 3, "no line is missing");
    assert!(offsets.is_sorted_by(|earlier, later| earlier < later), "lines are in order");
}

pub async fn both_ends_of_the_range_are_included(store: &dyn LogStore) {
    append_ten(store, "range");

    let read = read(store, &LogQuery { from: at(3), until: at(6), ..query("range") }).await;
    assert_eq!(offsets(&read), [3, 4, 5, 6], "both ends are included");

    let nothing = read_empty(store, LogQuery { from: at(10), until: at(20), ..query("range") });
    assert!(nothing.await, "a range without lines is empty");
    let reversed = read_empty(store, LogQuery { from: at(6), until: at(3), ..query("range") });
    assert!(reversed.await, "a range that ends before it begins is empty");
}

pub async fn the_newest_lines_come_first_when_asked(store: &dyn LogStore) {
    append_ten(store, "newest");

    let read = read(store, &LogQuery { descending: true, ..query("newest") }).await;

    assert_eq!(offsets(&read), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], "the newest come first");
}

pub async fn a_limit_takes_from_the_side_where_reading_begins(store: &dyn LogStore) {
    append_ten(store, "limit");

    let oldest = read(store, &LogQuery { lines_max: 2, ..query("limit") }).await;
    assert_eq!(offsets(&oldest), [0, 1], "the oldest lines of an ascending read");
    let newest = LogQuery { lines_max: 2, descending: true, ..query("limit") };
    assert_eq!(offsets(&read(store, &newest).await), [9, 8], "the newest of a descending read");
    let none = read_empty(store, LogQuery { lines_max: 0, ..query("limit") });
    assert!(none.await, "a limit of nothing reads nothing");
}

/// Clients of log-cache page like this, so two lines of one source never have the same time.
pub async fn paging_by_the_last_time_plus_one_misses_nothing(store: &dyn LogStore) {
    let messages: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    for message in &messages {
        store.append(line("paging", START, message));
    }

    let mut paged = Vec::new();
    let mut from = at(0);
    loop {
        let page = read(store, &LogQuery { from, lines_max: 7, ..query("paging") }).await;
        let Some(last) = page.last() else { break };
        from = Timestamp::from_micros(last.at.micros() + 1);
        paged.extend(page.into_iter().map(|line| text(&line)));
    }

    assert_eq!(paged, messages, "each line is on one page, in the order of arrival");
}

pub async fn sources_do_not_mix(store: &dyn LogStore) {
    store.append(line("mine", START, "mine"));
    store.append(line("theirs", START, "theirs"));

    let mine = read_all(store, "mine").await;
    assert_eq!(mine.iter().map(text).collect::<Vec<_>>(), ["mine"], "only lines of the source");
    assert!(read_all(store, "unknown").await.is_empty(), "an unknown source is empty");
}

pub async fn a_forgotten_source_is_empty_and_stays_so(store: &dyn LogStore) {
    store.append(line("forgotten", START + 1, "before"));
    store.append(line("remembered", START + 1, "other"));

    store.forget("forgotten").await.expect("forgetting works");

    assert!(read_all(store, "forgotten").await.is_empty(), "nothing is left of the source");
    assert_eq!(read_all(store, "remembered").await.len(), 1, "other sources are left alone");
    store.append(line("forgotten", START, "after"));
    store.lost("forgotten", 7);
    assert!(read_all(store, "forgotten").await.is_empty(), "last words do not bring it back");
    store.forget("never-seen").await.expect("forgetting what is not there works");
}

pub async fn lost_lines_are_told_in_the_log_of_their_source(store: &dyn LogStore) {
    store.lost("lossy", 7);

    let deadline = Instant::now() + DEADLINE;
    let mut told = Vec::new();
    while told.is_empty() {
        assert!(Instant::now() < deadline, "the loss is told within {DEADLINE:?}");
        tokio::task::yield_now().await;
        told = read_all(store, "lossy").await;
    }

    assert_eq!(told.len(), 1, "one line tells it");
    assert_eq!(told[0].source_type, "LGR", "it comes from the log system");
    assert!(text(&told[0]).starts_with("7 lines were lost because "), "it says how many and why");
}

pub async fn taken_and_lost_lines_are_counted(store: &dyn LogStore) {
    let before = store.totals();
    store.append(line("counted", START, "x"));
    store.lost("counted", 3);

    let after = store.totals();
    assert_eq!(after.taken - before.taken, 1, "the line was counted as taken");
    assert_eq!(after.lost - before.lost, 3, "the losses were counted");
}

fn append_ten(store: &dyn LogStore, source_id: &str) {
    for offset in 0..10 {
        store.append(line(source_id, START + offset, "x"));
    }
}

fn line(source_id: &str, at: i64, message: &str) -> LogLine {
    LogLine {
        at: Timestamp::from_micros(at),
        source_id: source_id.to_owned(),
        source_type: "APP/PROC/WEB".to_owned(),
        instance: "0".to_owned(),
        stream: LogStream::Out,
        message: message.as_bytes().to_vec(),
    }
}

fn at(offset: i64) -> Timestamp {
    Timestamp::from_micros(START + offset)
}

fn query(source_id: &str) -> LogQuery {
    LogQuery {
        source_id: source_id.to_owned(),
        from: Timestamp::from_micros(0),
        until: Timestamp::from_micros(i64::MAX),
        lines_max: 100_000,
        descending: false,
    }
}

async fn read(store: &dyn LogStore, query: &LogQuery) -> Vec<LogLine> {
    store.read(query).await.expect("reading works")
}

async fn read_all(store: &dyn LogStore, source_id: &str) -> Vec<LogLine> {
    read(store, &query(source_id)).await
}

async fn read_empty(store: &dyn LogStore, query: LogQuery) -> bool {
    read(store, &query).await.is_empty()
}

fn offsets(lines: &[LogLine]) -> Vec<i64> {
    lines.iter().map(|line| line.at.micros() - START).collect()
}

fn text(line: &LogLine) -> String {
    String::from_utf8_lossy(&line.message).into_owned()
}
