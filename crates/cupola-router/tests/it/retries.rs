//! When a request is sent again, and when it must not be.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{App, Reply, TestRouter, dead_endpoint, ok, route, skim};

#[tokio::test]
async fn unreachable_instances_are_passed_over_for_one_that_answers() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    let endpoints = vec![dead_endpoint().await, dead_endpoint().await, app.endpoint.clone()];
    router.serve([route("a.test", endpoints)]).await;

    for _ in 0..12 {
        let mut client = router.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody").await;
        assert_eq!(client.answer().await.text(), "hi");
    }

    assert!(app.seen().iter().all(|seen| seen.body == b"body"));
}

#[tokio::test]
async fn no_more_instances_are_tried_than_the_limit_allows() {
    let router = TestRouter::with(|limits| limits.attempts_max = 1).await;
    let app = App::saying("hi").await;
    let endpoints = vec![dead_endpoint().await, app.endpoint.clone()];
    router.serve([route("a.test", endpoints)]).await;

    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(router.get("a.test", "/").await.status);
    }

    // Once the dead one is known it is passed over.
    let failed = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(failed, 1, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&200));
}

#[tokio::test]
async fn only_instance_is_tried_again_although_it_failed() {
    let router = TestRouter::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    router.serve([route("a.test", vec![crate::support::endpoint(address)])]).await;

    let failed = router.get("a.test", "/").await.status;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        skim(&mut stream).await;
        stream.write_all(ok("back").as_bytes()).await.unwrap();
    });

    assert_eq!((failed, router.get("a.test", "/").await.text()), (502, "back"));
}

/// Answers the first request of its first connection and then closes on the second one, as an app
/// does whose keep-alive time is over just then.
async fn app_with_a_closing_connection() -> (App, Arc<AtomicUsize>) {
    let requests = Arc::<AtomicUsize>::default();
    let count = requests.clone();
    let app = App::raw(move |number, mut stream| {
        let count = count.clone();
        async move {
            loop {
                if !matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {
                    return;
                }
                if count.fetch_add(1, SeqCst) > 0 && number == 0 {
                    return;
                }
                stream.write_all(ok(&number.to_string()).as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (app, requests)
}

#[tokio::test]
async fn idempotent_request_is_sent_again_when_a_pooled_connection_was_closed() {
    let router = TestRouter::start().await;
    let (app, requests) = app_with_a_closing_connection().await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let first = client.answer().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let second = client.answer().await;

    assert_eq!((first.text(), second.text()), ("0", "1"));
    assert_eq!(requests.load(SeqCst), 3);
}

#[tokio::test]
async fn post_that_was_sent_is_never_sent_again() {
    let router = TestRouter::start().await;
    let (app, requests) = app_with_a_closing_connection().await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.answer().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx").await;
    let second = client.answer().await;

    assert_eq!(second.status, 502);
    assert_eq!(requests.load(SeqCst), 2);
}

#[tokio::test]
async fn request_is_not_sent_again_once_the_app_has_said_something() {
    let router = TestRouter::start().await;
    let count = Arc::<AtomicUsize>::default();
    let calls = count.clone();
    let app = App::start(move |_| match calls.fetch_add(1, SeqCst) {
        0 => Reply::Text(ok("first")),
        _ => Reply::Last("HTTP/1.1 200".to_owned()),
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.answer().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;

    assert_eq!(client.answer().await.status, 502);
    assert_eq!(count.load(SeqCst), 2);
}
