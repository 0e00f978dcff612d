//! What is kept, what goes, and what is said about it.

use cupola_domain::time::Timestamp;
use cupola_ports::logs::{LogQuery, LogSink, LogStore};
use cupola_signals::LogLimits;

use crate::{START, connect, line, noise, open, read};

#[tokio::test]
async fn the_oldest_lines_of_the_source_that_is_too_big_go_first() {
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits { bytes_per_source_max: 200_000, ..LogLimits::default() };
    let logs = open(directory.path(), limits).await;
    logs.append(line("quiet", 0, "an old line of another app"));

    for at in 0..500 {
        logs.append(line("loud", at, noise(at, 1_000)));
    }
    logs.flush().await.unwrap();

    let loud = read(&logs, "loud").await;
    let bytes: i64 = sqlx::query_scalar("SELECT SUM(bytes) FROM chunks WHERE source_id = 'loud'")
        .fetch_one(&mut connect(directory.path()).await)
        .await
        .unwrap();
    assert!((130..=200).contains(&loud.len()), "{} lines are left", loud.len());
    assert!(bytes <= 200_000, "{bytes} bytes are left");
    assert_eq!(loud.last().unwrap().at, Timestamp::from_micros(START + 499));
    assert_eq!(logs.totals().evicted, 500 - loud.len() as u64);
    assert_eq!(read(&logs, "quiet").await.len(), 1);
}

#[tokio::test]
async fn an_app_that_logs_a_little_all_the_time_has_few_chunks() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;

    for at in 0..300 {
        logs.append(line("app", at, "tick"));
        logs.flush().await.unwrap();
    }

    let chunks: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM chunks")
        .fetch_one(&mut connect(directory.path()).await)
        .await
        .unwrap();
    assert!(chunks <= 129, "{chunks} chunks");
    assert_eq!(read(&logs, "app").await.len(), 300);
}

#[tokio::test]
async fn reading_a_range_out_of_many_chunks_yields_exactly_that_range() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;
    for at in 0..5_000 {
        logs.append(line("app", at, noise(at, 100)));
        if at % 700 == 0 {
            logs.flush().await.unwrap();
        }
    }

    let query = LogQuery {
        source_id: "app".to_owned(),
        from: Timestamp::from_micros(START + 600),
        until: Timestamp::from_micros(START + 4_999),
        lines_max: 3_000,
        descending: false,
    };
    let forward = logs.read(&query).await.unwrap();
    let backward = logs.read(&LogQuery { descending: true, ..query }).await.unwrap();

    let offsets = |lines: &[cupola_ports::logs::LogLine]| -> Vec<i64> {
        lines.iter().map(|line| line.at.micros() - START).collect()
    };
    assert_eq!(offsets(&forward), (600..3_600).collect::<Vec<_>>());
    assert_eq!(offsets(&backward), (2_000..5_000).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_queue_drops_lines_and_says_so_in_the_log_of_the_app() {
    let directory = tempfile::tempdir().unwrap();
    let limits = LogLimits { queue_lines_max: 20, ..LogLimits::default() };
    let logs = open(directory.path(), limits).await;

    for at in 0..100 {
        logs.append(line("app", at, "x"));
    }
    logs.flush().await.unwrap();

    let read = read(&logs, "app").await;
    assert_eq!(logs.totals().taken + logs.totals().lost, 100);
    assert!(logs.totals().lost > 0);
    let notice = read.iter().find(|line| line.source_type == "LGR").unwrap();
    let text = String::from_utf8_lossy(&notice.message);
    assert!(text.contains("lost because the log queue was full"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_many_threads_are_all_kept_each_with_a_time_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(directory.path(), LogLimits::default()).await;

    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let logs = &logs;
            scope.spawn(move || {
                for number in 0..2_500 {
                    logs.append(line("app", number / 10, format!("{thread} {number}")));
                }
            });
        }
        scope.spawn(|| runtime.block_on(logs.flush()).unwrap());
    });

    let read = read(&logs, "app").await;
    let mut messages: Vec<_> = read.iter().map(|line| line.message.clone()).collect();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 10_000);
    assert!(read.is_sorted_by(|earlier, later| earlier.at < later.at));
}
