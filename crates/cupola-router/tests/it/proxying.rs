//! Bodies and connections: reuse, streaming, back-pressure, odd statuses, cut answers.

use std::time::Duration;

use cupola_ports::data_plane::DataPlane;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::support::{App, PATIENCE, Reply, TestRouter, eventually, ok, route, skim};

#[tokio::test]
async fn both_sides_keep_their_connections() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    for _ in 0..20 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "hi");
    }

    assert_eq!((app.connections(), app.seen().len()), (1, 20));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let router = TestRouter::start().await;
    let app = App::start(|seen| Reply::Text(ok(seen.request_line()))).await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.send(&format!("{}{}{}", one("/1"), one("/2"), one("/3"))).await;

    for number in 1..4 {
        assert_eq!(client.answer().await.text(), format!("GET /{number} HTTP/1.1"));
    }
}

#[tokio::test]
async fn round_robin_gives_every_instance_its_turn() {
    let router = TestRouter::start().await;
    let apps = [App::saying("0").await, App::saying("1").await, App::saying("2").await];
    let endpoints = apps.iter().map(|app| app.endpoint.clone()).collect();
    router.serve([route("a.test", endpoints)]).await;

    for _ in 0..9 {
        router.get("a.test", "/").await;
    }

    assert_eq!(apps.each_ref().map(|app| app.seen().len()), [3, 3, 3]);
}

#[tokio::test]
async fn upload_arrives_whole_however_it_was_framed() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello").await;
    client.answer().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nHost: x\r\n\r\n")
        .await;
    client.answer().await;

    let seen = app.seen();
    assert_eq!((&*seen[0].body, &*seen[1].body), (&b"hello"[..], &b"hello"[..]));
    assert_eq!(seen[0].header("Content-Length"), Some("5"));
    assert_eq!(seen[1].header("Transfer-Encoding"), Some("chunked"));
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn answer_streams_piece_by_piece() {
    let router = TestRouter::start().await;
    let (next, pieces) = mpsc::channel::<&'static str>(1);
    let pieces = std::sync::Mutex::new(Some(pieces));
    let app = App::raw(move |_, mut stream| {
        let mut pieces = pieces.lock().unwrap().take().unwrap();
        async move {
            skim(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while let Some(piece) = pieces.recv().await {
                stream
                    .write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
                    .await
                    .unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.head().await;
    for piece in ["one", "two", "three"] {
        next.send(piece).await.unwrap();
        client.expect(&format!("{:X}\r\n{piece}\r\n", piece.len())).await;
    }
    drop(next);
    client.expect("0\r\n\r\n").await;
}

#[tokio::test]
async fn slow_reader_holds_the_app_back_instead_of_filling_memory() {
    let router = TestRouter::start().await;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = sent.clone();
    let app = App::raw(move |_, mut stream| {
        let count = count.clone();
        async move {
            skim(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let piece = vec![b'x'; 1 << 20];
            while stream.write_all(&piece).await.is_ok() {
                count.fetch_add(piece.len(), std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let memory_before = resident_kib(router.pid());

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.head().await;
    let mut last = (0, Instant::now());
    eventually("the app is held back", async || {
        let now = sent.load(std::sync::atomic::Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.0 > 0 && last.1.elapsed() > Duration::from_millis(300)
    })
    .await;

    let grown_kib = resident_kib(router.pid()).saturating_sub(memory_before);
    assert!(grown_kib < 4 << 10, "the router grew by {grown_kib} KiB");
    assert!(last.0 < 64 << 20, "{} bytes went into a client that reads nothing", last.0);
}

#[tokio::test]
async fn slow_app_holds_the_client_back_instead_of_filling_memory() {
    let router = TestRouter::start().await;
    let app = App::raw(|_, mut stream| async move {
        skim(&mut stream).await;
        let _never: () = std::future::pending().await;
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let memory_before = resident_kib(router.pid());

    let mut client = router.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n").await;
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while timeout(Duration::from_millis(500), client.stream.write_all(&piece)).await.is_ok() {
        sent += piece.len();
    }

    let grown_kib = resident_kib(router.pid()).saturating_sub(memory_before);
    assert!(grown_kib < 4 << 10, "the router grew by {grown_kib} KiB");
    assert!(sent < 64 << 20, "{sent} bytes went to an app that reads nothing");
}

fn resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn statuses_without_a_body_leave_the_connection_usable() {
    let router = TestRouter::start().await;
    let app = App::start(|seen| match seen.request_line().split(' ').nth(1).unwrap() {
        "/204" => Reply::Text("HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        "/304" => Reply::Text(
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: x\r\n\r\n".to_owned(),
        ),
        "/head" => Reply::Text("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned()),
        _ => Reply::Text(ok("hi")),
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    let ask =
        |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.send(&ask("GET", "/204")).await;
    let no_content = client.answer().await;
    client.send(&ask("GET", "/304")).await;
    let not_modified = client.answer().await;
    client.send(&ask("HEAD", "/head")).await;
    let head = client.try_answer(false).await.unwrap();
    client.send(&ask("GET", "/")).await;
    let last = client.answer().await;

    assert_eq!((no_content.status, not_modified.status), (204, 304));
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("7")));
    assert_eq!(not_modified.header("ETag"), Some("x"));
    assert_eq!(last.text(), "hi");
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn cut_answer_reaches_the_client_as_a_reset_not_as_an_end() {
    let router = TestRouter::start().await;
    let app = App::start(|seen| match seen.request_line().split(' ').nth(1).unwrap() {
        "/length" => Reply::Last("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\npart".to_owned()),
        "/chunked" => Reply::Last(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n".to_owned(),
        ),
        "/reset" => Reply::Cut("HTTP/1.1 200 OK\r\n\r\npart".to_owned()),
        _ => Reply::Last("HTTP/1.1 200 OK\r\n\r\nwhole".to_owned()),
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    for (path, version) in
        [("/length", "1.1"), ("/chunked", "1.1"), ("/chunked", "1.0"), ("/reset", "1.0")]
    {
        let mut client = router.connect().await;
        client.send(&format!("GET {path} HTTP/{version}\r\nHost: a.test\r\n\r\n")).await;
        client.head().await;
        let (_, is_orderly) = client.rest().await;
        assert!(!is_orderly, "{path} of HTTP/{version} ended as if it were whole");
    }
    assert_eq!(router.get("a.test", "/whole").await.text(), "whole");
}

#[tokio::test]
async fn http_1_0_client_gets_an_answer_that_ends_with_the_connection() {
    let router = TestRouter::start().await;
    let app = App::start(|_| {
        Reply::Text(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned(),
        )
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer().await;

    assert_eq!((answer.text(), answer.header("Transfer-Encoding")), ("hi", None));
    assert!(answer.head.starts_with("HTTP/1.0 200"), "{}", answer.head);
    assert_eq!(app.last().request_line(), "GET / HTTP/1.1");
}

#[tokio::test]
async fn app_decides_about_expect_100_continue() {
    let router = TestRouter::with(|limits| limits.expect_wait_ms = 60_000).await;
    let app = App::raw(|_, mut stream| async move {
        let mut buffer = vec![0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if head.contains("/refuse") {
            let refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(refusal).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let read = stream.read(&mut buffer).await.unwrap();
        let body = String::from_utf8_lossy(&buffer[..read]).into_owned();
        stream.write_all(ok(&body).as_bytes()).await.unwrap();
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let ask = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
    };

    let mut refused = router.connect().await;
    refused.send(&ask("/refuse")).await;
    let refusal = refused.answer().await;
    let mut accepted = router.connect().await;
    accepted.send(&ask("/accept")).await;
    let go_on = accepted.head().await;
    accepted.send("hello").await;
    let answer = accepted.answer().await;

    assert_eq!(refusal.status, 417);
    assert!(go_on.starts_with("HTTP/1.1 100"), "{go_on}");
    assert_eq!(answer.text(), "hello");
}

#[tokio::test]
async fn early_answer_is_relayed_while_the_upload_still_runs() {
    let router = TestRouter::start().await;
    let app = App::raw(|_, mut stream| async move {
        skim(&mut stream).await;
        let refusal = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge";
        stream.write_all(refusal).await.unwrap();
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n").await;
    client.send(&"x".repeat(100_000)).await;
    let answer = client.answer().await;
    client.send(&"x".repeat(900_000)).await;
    client.send("GET /unknown HTTP/1.1\r\nHost: nowhere.test\r\n\r\n").await;

    assert_eq!((answer.status, answer.text()), (413, "large"));
    assert_eq!(client.answer().await.status, 404);
}

#[tokio::test]
async fn refused_upload_is_answered_without_a_reset() {
    let router = TestRouter::start().await;
    router.serve([]).await;

    let mut client = router.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: nowhere.test\r\nContent-Length: 1000000\r\n\r\n").await;
    client.send(&"x".repeat(1_000_000)).await;

    assert_eq!(client.answer().await.status, 404);
}

#[tokio::test]
async fn client_that_goes_away_ends_the_request_at_the_app_and_counts_as_499() {
    let router = TestRouter::start().await;
    let mut lines = router.client.access_log().unwrap();
    let (gone, is_gone) = oneshot::channel();
    let gone = std::sync::Mutex::new(Some(gone));
    let (arrived, mut has_arrived) = mpsc::channel(1);
    let app = App::raw(move |_, mut stream| {
        let (gone, arrived) = (gone.lock().unwrap().take(), arrived.clone());
        async move {
            skim(&mut stream).await;
            arrived.send(()).await.unwrap();
            let _ended = stream.read(&mut [0; 1]).await;
            gone.unwrap().send(()).unwrap();
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    has_arrived.recv().await.unwrap();
    drop(client);

    timeout(PATIENCE, is_gone).await.expect("the app was not told").unwrap();
    let line = timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
    assert!(line.text.contains("\"GET / HTTP/1.1\" 499 0 0 "), "{}", line.text);
    let report = router.report(|report| report.instances[&app.id()].requests == 1).await;
    assert_eq!(report.instances[&app.id()].in_flight, 0);
}
