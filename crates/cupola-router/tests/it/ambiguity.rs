//! The ambiguity table: every row is sent raw, and what reaches the app is recorded.

use crate::support::{App, TestRouter, route};

/// What is sent, the status that must come back, and the requests that may reach the app.
const ROWS: &[(&str, &str, u16, usize)] = &[
    (
        "length and chunked",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        400,
        0,
    ),
    (
        "chunked and length",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
        400,
        0,
    ),
    ("length list", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1, 1\r\n\r\na", 400, 0),
    (
        "two equal lengths",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
        0,
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
        0,
    ),
    ("signed length", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\na", 400, 0),
    (
        "gzip, chunked",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        0,
    ),
    (
        "xchunked",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
        0,
    ),
    ("identity", "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n", 400, 0),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        0,
    ),
    (
        "chunked on 1.0",
        "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        0,
    ),
    ("continuation line", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n", 400, 0),
    ("space before colon", "GET / HTTP/1.1\r\nHost: a.test\r\nX : a\r\n\r\n", 400, 0),
    (
        "space before colon of length",
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length : 1\r\n\r\na",
        400,
        0,
    ),
    ("bare line feeds", "GET / HTTP/1.1\nHost: a.test\n\n", 400, 0),
    ("one bare line feed", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\nY: b\r\n\r\n", 400, 0),
    ("bare return in a value", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n", 400, 0),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n", 400, 0),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", 400, 0),
    ("host that is no name", "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400, 0),
    ("host with user", "GET / HTTP/1.1\r\nHost: x@a.test\r\n\r\n", 400, 0),
    ("absolute target", "GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", 200, 1),
    ("connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", 405, 0),
    (
        "chunk with bare line feed",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        0,
        0,
    ),
    (
        "extension with bare line feed",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1;x\ny\r\na\r\n0\r\n\r\n",
        0,
        0,
    ),
    (
        "chunk size overflow",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\na\r\n",
        0,
        0,
    ),
    (
        "negative chunk size",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\na\r\n",
        0,
        0,
    ),
    (
        "chunk longer than its size",
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        0,
        0,
    ),
];

#[tokio::test]
async fn every_row_of_the_ambiguity_table_is_answered_as_wanted() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut wrong = Vec::new();
    for (name, request, wanted_status, wanted_requests) in ROWS {
        let before = app.seen().len();
        let mut client = router.connect().await;
        client.send(request).await;
        let status = client.try_answer(true).await.map_or(0, |answer| answer.status);
        let requests = app.seen().len() - before;
        // A body that goes wrong midway may be refused in either way, but must not arrive whole.
        let is_wanted = match wanted_status {
            0 => status == 0 || status >= 400,
            wanted => status == *wanted,
        };
        if !is_wanted || requests != *wanted_requests {
            wrong.push(format!("{name}: status {status}, {requests} requests"));
        }
        if *wanted_status >= 400 {
            let (rest, _) = client.rest().await;
            assert!(rest.is_empty(), "{name}: something follows the refusal");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_hides_behind_an_ambiguous_request_is_never_answered() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client
        .send(&format!(
            "GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n\
             POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n\
             0\r\n\r\n{smuggled}",
            smuggled.len() + 5
        ))
        .await;
    let first = client.answer().await;
    let refused = client.answer().await;
    let (rest, _) = client.rest().await;

    assert_eq!((first.status, refused.status), (200, 400));
    assert!(rest.is_empty());
    assert_eq!(app.seen().len(), 1);
}
