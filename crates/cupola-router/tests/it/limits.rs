//! Bounds that keep one client from taking the router down.

use std::time::{Duration, Instant};

use tokio::{
    io::AsyncWriteExt,
    time::{interval, timeout},
};

use crate::support::{App, PATIENCE, Reply, TestRouter, eventually, ok, route, skim};

#[tokio::test]
async fn large_head_is_431_at_the_limit() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let ask = async |bytes: usize| {
        let mut client = router.connect().await;
        let value = "x".repeat(bytes);
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {value}\r\n\r\n")).await;
        client.answer().await.status
    };

    assert_eq!((ask(40 << 10).await, ask(70 << 10).await), (200, 431));
    assert_eq!(app.seen().len(), 1);
}

#[tokio::test]
async fn head_that_trickles_in_is_given_up_at_the_deadline() {
    let router = TestRouter::with(|limits| limits.header_deadline_ms = 300).await;

    let started = Instant::now();
    let client = router.connect().await;
    let (mut read, mut write) = client.stream.into_split();
    let trickle = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(20));
        while write.write_all(b"X").await.is_ok() {
            ticks.tick().await;
        }
    });
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_end(&mut read, &mut rest)).await;
    drop(read);

    assert!(ended.is_ok(), "the connection does not end");
    assert!(rest.is_empty());
    assert!(started.elapsed() >= Duration::from_millis(250));
    timeout(PATIENCE, trickle).await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connection_is_closed_and_a_used_one_is_not() {
    let router = TestRouter::with(|limits| limits.keep_alive_idle_ms = 200).await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.answer().await;
    let answered = Instant::now();
    let (rest, _) = client.rest().await;

    assert!(rest.is_empty());
    assert!(answered.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn upload_below_the_minimum_rate_is_cut() {
    let router = TestRouter::with(|limits| {
        limits.body_rate_window_ms = 300;
        limits.body_rate_min = 1000;
    })
    .await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nx").await;
    let (rest, _) = client.rest().await;

    assert!(rest.is_empty());
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn answer_that_nobody_reads_is_given_up() {
    let router = TestRouter::with(|limits| limits.write_stall_ms = 200).await;
    let app = App::raw(|_, mut stream| async move {
        skim(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.head().await;

    router
        .report(|report| {
            report.instances[&app.id()].in_flight == 0 && report.instances[&app.id()].requests == 1
        })
        .await;
}

#[tokio::test]
async fn connections_over_the_cap_wait_and_are_served_later() {
    let router = TestRouter::with(|limits| limits.connections_max = 4).await;
    let (app, silent) = (App::saying("hi").await, App::start(|_| Reply::Silence).await);
    router
        .serve([
            route("a.test", vec![app.endpoint.clone()]),
            route("silent.test", vec![silent.endpoint.clone()]),
        ])
        .await;

    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = router.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: silent.test\r\n\r\n").await;
        held.push(client);
    }
    eventually("all places are taken", async || silent.connections() == 4).await;
    let mut late = router.connect().await;
    late.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let too_early = timeout(Duration::from_millis(200), late.head()).await;
    held.clear();

    assert!(too_early.is_err());
    assert_eq!(late.try_answer(true).await.unwrap().text(), "hi");
}

#[tokio::test]
async fn connections_without_a_request_make_way_the_longest_idle_first() {
    let router = TestRouter::with_config(|config| {
        config.workers = Some(1);
        config.limits.connections_max = 4;
    })
    .await;
    let (app, silent) = (App::saying("hi").await, App::start(|_| Reply::Silence).await);
    router
        .serve([
            route("a.test", vec![app.endpoint.clone()]),
            route("silent.test", vec![silent.endpoint.clone()]),
        ])
        .await;
    let mut busy = router.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: silent.test\r\n\r\n").await;
    eventually("the request is on its way", async || silent.connections() == 1).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = router.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(client.answer().await.text(), "hi");
        idle.push(client);
    }

    let newest = idle.last_mut().unwrap();
    newest.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(newest.answer().await.text(), "hi");
    assert!(idle[0].rest().await.0.is_empty());
    assert!(timeout(Duration::from_millis(50), busy.head()).await.is_err());
}

#[tokio::test]
async fn idle_connections_to_an_instance_are_closed_when_its_route_goes() {
    let router = TestRouter::start().await;
    let (ended, mut has_ended) = tokio::sync::mpsc::channel(1);
    let app = App::raw(move |_, mut stream| {
        let ended = ended.clone();
        async move {
            let mut buffer = [0; 4096];
            while let Ok(1..) = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await {
                stream.write_all(ok("hi").as_bytes()).await.unwrap();
            }
            ended.send(()).await.unwrap();
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    router.get("a.test", "/").await;
    router.serve([]).await;

    timeout(PATIENCE, has_ended.recv()).await.expect("the connection stays open").unwrap();
    eventually("the route is gone", async || router.get("a.test", "/").await.status == 404).await;
}
