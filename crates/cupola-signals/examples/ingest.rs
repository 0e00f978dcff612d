//! Measures how many lines one core takes, writes and reads back: `ingest [LINES] [SOURCES]`.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, not a part of it")]

use std::{sync::Arc, time::Instant};

use cupola_domain::time::Timestamp;
use cupola_ports::{
    clock::{Clock, SystemClock},
    logs::{LogLine, LogQuery, LogSink, LogStore, LogStream},
};
use cupola_signals::{LogLimits, SqliteLogs};

const LINES_PER_FLUSH: usize = 16_384;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let lines = args.next().map_or(1_000_000, |lines| lines.parse().unwrap());
    let sources: usize = args.next().map_or(10, |sources| sources.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock::new());
    let path = directory.path().join("logs.db");
    let logs = SqliteLogs::open(&path, LogLimits::default(), clock.clone()).await.unwrap();

    let (started, cpu) = (Instant::now(), cpu_seconds());
    for number in 0..lines {
        logs.append(line(clock.now(), number, sources));
        if number % LINES_PER_FLUSH == 0 {
            logs.flush().await.unwrap();
        }
    }
    logs.flush().await.unwrap();
    let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);

    let bytes = path.metadata().unwrap().len();
    println!("{:?}", logs.totals());
    println!(
        "{:.0} lines per second, {:.0} per core second",
        lines as f64 / wall,
        lines as f64 / cpu
    );
    println!("{:.1} bytes per line on disk", bytes as f64 / lines as f64);
    read_newest(&logs).await;
    logs.close().await;
}

async fn read_newest(logs: &SqliteLogs) {
    let query = LogQuery {
        source_id: "source-0".to_owned(),
        from: Timestamp::from_micros(0),
        until: Timestamp::from_micros(i64::MAX),
        lines_max: 1_000,
        descending: true,
    };
    let started = Instant::now();
    let read = logs.read(&query).await.unwrap().len();
    println!("the newest {read} lines of a source were read in {:?}", started.elapsed());
}

fn line(at: Timestamp, number: usize, sources: usize) -> LogLine {
    let message = format!(
        "{{\"level\":\"info\",\"request\":{number},\"path\":\"/orders/{}\",\"status\":200,\"took_ms\":{}}}",
        number.wrapping_mul(2_654_435_761) % 100_000,
        number % 97
    );
    LogLine {
        at,
        source_id: format!("source-{}", number % sources),
        source_type: "APP/PROC/WEB".to_owned(),
        instance: "0".to_owned(),
        stream: LogStream::Out,
        message: message.into_bytes(),
    }
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
