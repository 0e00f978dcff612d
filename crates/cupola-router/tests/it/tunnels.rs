//! Upgraded connections.

use std::time::Duration;

use cupola_ports::data_plane::DataPlane;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::support::{App, PATIENCE, Reply, TestRouter, ok, route, skim};

async fn websocket_echo() -> App {
    App::raw(|_, stream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn open(router: &TestRouter) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let mut request = format!("ws://{}/chat", router.address()).into_client_request().unwrap();
    request.headers_mut().insert("Host", "a.test".parse().unwrap());
    let stream = TcpStream::connect(router.address()).await.unwrap();
    tokio_tungstenite::client_async(request, MaybeTlsStream::Plain(stream)).await.unwrap().0
}

#[tokio::test]
async fn websocket_is_tunnelled_counted_and_logged() {
    let router = TestRouter::start().await;
    let mut lines = router.client.access_log().unwrap();
    let app = websocket_echo().await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut socket = open(&router).await;
    socket.send(Message::text("hello")).await.unwrap();
    let echo = socket.next().await.unwrap().unwrap();
    let open_report = router.report(|report| report.instances[&app.id()].tunnels == 1).await;
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}

    assert_eq!(echo, Message::text("hello"));
    assert_eq!(open_report.instances[&app.id()].in_flight, 0);
    router.report(|report| report.instances[&app.id()].tunnels == 0).await;
    let line = timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
    assert!(line.text.contains("\"GET /chat HTTP/1.1\" 101 "), "{}", line.text);
}

#[tokio::test]
async fn close_tunnels_says_1001_to_the_websockets_of_that_instance_only() {
    let router = TestRouter::start().await;
    let (ending, staying) = (websocket_echo().await, websocket_echo().await);
    let both = vec![ending.endpoint.clone(), staying.endpoint.clone()];
    router.serve([route("a.test", both)]).await;
    let mut sockets = [open(&router).await, open(&router).await];
    let report = router
        .report(|report| report.instances.values().map(|it| it.tunnels).sum::<u64>() == 2)
        .await;
    assert_eq!(report.instances[&ending.id()].tunnels, 1);

    router.client.close_tunnels(ending.id()).await.unwrap();
    router.report(|report| report.instances[&ending.id()].tunnels == 0).await;

    let mut codes = Vec::new();
    for socket in &mut sockets {
        socket.send(Message::text("still there?")).await.ok();
        let next = timeout(PATIENCE, socket.next()).await.unwrap();
        codes.push(match next {
            Some(Ok(Message::Close(Some(frame)))) => Some(frame.code),
            _ => None,
        });
    }
    codes.sort_by_key(Option::is_some);
    assert_eq!(codes, [None, Some(CloseCode::Away)]);
}

#[tokio::test]
async fn close_frame_never_lands_inside_a_frame_of_the_app() {
    let router = TestRouter::start().await;
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    let finished = std::sync::Mutex::new(Some(finished));
    let app = App::raw(move |_, mut stream| {
        let finished = finished.lock().unwrap().take().unwrap();
        async move {
            skim(&mut stream).await;
            let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(b"\x82\x0ahalf.").await.unwrap();
            finished.await.unwrap();
            stream.write_all(b".half\x82\x04more").await.unwrap();
            let _end = stream.read(&mut [0; 64]).await;
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    client.head().await;
    client.expect_bytes(b"\x82\x0ahalf.").await;
    router.client.close_tunnels(app.id()).await.unwrap();
    finish.send(()).unwrap();

    let (rest, _) = client.rest().await;
    let whole = b".half\x88\x02\x03\xe9".to_vec();
    let with_second = b".half\x82\x04more\x88\x02\x03\xe9".to_vec();
    assert!(rest == whole || rest == with_second, "{rest:?}");
}

#[tokio::test]
async fn nothing_reaches_the_app_before_it_has_agreed_to_the_upgrade() {
    let router = TestRouter::start().await;
    let (decide, decision) = tokio::sync::oneshot::channel::<()>();
    let decision = std::sync::Mutex::new(Some(decision));
    let (early, mut seen_early) = tokio::sync::mpsc::channel(1);
    let app = App::raw(move |_, mut stream| {
        let (decision, early) = (decision.lock().unwrap().take().unwrap(), early.clone());
        async move {
            let mut buffer = vec![0; 4096];
            skim(&mut stream).await;
            decision.await.unwrap();
            let too_early = timeout(Duration::from_millis(100), stream.read(&mut buffer)).await;
            early.send(too_early.is_ok()).await.unwrap();
            stream.write_all(ok("no").as_bytes()).await.unwrap();
            let _end = stream.read(&mut buffer).await;
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    client.send("GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    decide.send(()).unwrap();
    let answer = client.answer().await;

    assert_eq!(seen_early.recv().await, Some(false));
    assert_eq!((answer.status, answer.text()), (200, "no"));
}

#[tokio::test]
async fn refused_upgrade_leaves_an_ordinary_connection() {
    let router = TestRouter::start().await;
    let app = App::saying("plain").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .await;
    let first = client.answer().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let second = client.answer().await;
    client.send("GET / HTTP/1.1\nHost: a.test\n\n").await;
    let third = client.answer().await;

    assert_eq!((first.text(), second.text(), third.status), ("plain", "plain", 400));
    assert!(app.seen().iter().all(|seen| seen.header("Upgrade").is_none()));
}

#[tokio::test]
async fn only_websockets_become_tunnels() {
    let router = TestRouter::start().await;
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let app = App::start(move |_| Reply::Last(switching.to_owned())).await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let ask = async |protocol: &str| {
        let mut client = router.connect().await;
        let upgrade = format!("Connection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n");
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{upgrade}")).await;
        client.answer().await.status
    };

    assert_eq!((ask("h2c").await, ask("WebSocket").await), (502, 502));
    let upgrades: Vec<_> =
        app.seen().iter().map(|seen| seen.header("Upgrade").map(str::to_owned)).collect();
    assert_eq!(upgrades, [None, Some("websocket".to_owned())]);
}

#[tokio::test]
async fn each_direction_of_a_tunnel_ends_on_its_own() {
    let router = TestRouter::start().await;
    let app = App::raw(|_, mut stream| async move {
        skim(&mut stream).await;
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(format!("got {}", all.len()).as_bytes()).await.unwrap();
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    client.head().await;
    client.send(&"x".repeat(100_000)).await;
    client.stream.shutdown().await.unwrap();

    assert_eq!(client.rest().await, (b"got 100000".to_vec(), true));
}

#[tokio::test]
async fn silent_tunnel_is_closed() {
    let router = TestRouter::with(|limits| limits.tunnel_idle_ms = 200).await;
    let app = websocket_echo().await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut socket = open(&router).await;

    assert!(!matches!(timeout(PATIENCE, socket.next()).await.unwrap(), Some(Ok(_))));
    router.report(|report| report.instances[&app.id()].tunnels == 0).await;
}

#[tokio::test]
async fn request_that_went_by_unscanned_behind_an_upgrade_is_not_answered() {
    let router = TestRouter::start().await;
    let app = App::saying("plain").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n\
             POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        )
        .await;
    let first = client.answer().await;
    let (rest, _) = client.rest().await;

    assert_eq!((first.text(), first.header("Connection")), ("plain", Some("close")));
    assert!(rest.is_empty());
    assert_eq!(app.seen().len(), 1);
}
