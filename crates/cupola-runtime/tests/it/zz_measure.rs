//! Temporary.
use crate::host::{Host, instance, shell};
use cupola_domain::processes::Check;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn zz_measure() {
    let host = Host::new().await;
    let mut first = vec![];
    let mut all = vec![];
    for n in 0..30 {
        let desired = instance(shell("echo up; exec sleep 1000"), Check::Process);
        all.push(desired.clone());
        let t = Instant::now();
        host.cells.apply(all.clone()).await.unwrap();
        host.lines
            .wait_until(|| (host.lines.of("APP/PROC/WEB").len() > n).then_some(()))
            .await
            .unwrap();
        first.push(t.elapsed().as_micros());
    }
    use cupola_ports::cells::Cells;
    let pss = |pat: &str| {
        let mut total = 0;
        let mut count = 0;
        for e in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(e.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(pat) {
                if let Ok(r) = std::fs::read_to_string(e.path().join("smaps_rollup")) {
                    for l in r.lines() {
                        if l.starts_with("Pss:") {
                            total += l.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
                            count += 1;
                        }
                    }
                }
            }
        }
        (total, count)
    };
    println!(
        "shims {:?} inits {:?}",
        pss(&format!("shim start {}", host.folder.path().display())),
        pss("/.cupola/init init")
    );
    let t = Instant::now();
    host.stop_all().await;
    println!("stop {:?}", t.elapsed());
    first.sort();
    println!("median {} p95 {} min {}", first[15], first[28], first[0]);
}
