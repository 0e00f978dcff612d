//! The router's own answers, to the byte.

use crate::support::{App, Reply, TestRouter, dead_endpoint, eventually, route};

#[tokio::test]
async fn unknown_route_is_told_exactly_as_gorouter_does() {
    let router = TestRouter::start().await;
    router.serve([]).await;

    let answer = router.get("No.test:80", "/").await;

    assert_eq!(answer.status, 404);
    assert_eq!(answer.text(), "404 Not Found: Requested route ('No.test:80') does not exist.\n");
    assert_eq!(answer.header("X-Cf-RouterError"), Some("unknown_route"));
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(answer.header("Connection"), None);
}

#[tokio::test]
async fn router_without_a_table_does_not_deny_that_a_route_exists() {
    let router = TestRouter::start().await;

    let answer = router.get("a.test", "/").await;

    assert_eq!((answer.status, answer.header("X-Cf-RouterError")), (503, Some("no_route_table")));
}

#[tokio::test]
async fn route_without_instances_is_503() {
    let router = TestRouter::start().await;
    router.serve([route("a.test", vec![])]).await;

    let answer = router.get("a.test", "/").await;

    assert_eq!((answer.status, answer.header("X-Cf-RouterError")), (503, Some("no_endpoints")));
    assert_eq!(
        answer.text(),
        "503 Service Unavailable: Requested route ('a.test') has no available endpoints.\n"
    );
}

#[tokio::test]
async fn missing_and_empty_host_are_400() {
    let router = TestRouter::start().await;

    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"] {
        let mut client = router.connect().await;
        client.send(request).await;
        let answer = client.answer().await;

        assert_eq!((answer.status, answer.header("X-Cf-RouterError")), (400, Some("empty_host")));
        assert_eq!(answer.text(), "400 Bad Request: Request had empty Host header\n");
    }
}

#[tokio::test]
async fn unreachable_instance_is_502_with_its_reason() {
    let router = TestRouter::start().await;
    let dead = dead_endpoint().await;
    let address = dead.address;
    router.serve([route("a.test", vec![dead])]).await;

    let answer = router.get("a.test", "/").await;

    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.header("X-Cf-RouterError"),
        Some(&*format!("endpoint_failure (dial tcp {address}: connect: connection refused)"))
    );
    assert_eq!(
        answer.text(),
        "502 Bad Gateway: Registered endpoint failed to handle the request.\n"
    );
}

#[tokio::test]
async fn app_that_closes_without_an_answer_is_502() {
    let router = TestRouter::start().await;
    let app = App::start(|_| Reply::Nothing).await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let answer = router.get("a.test", "/").await;

    assert_eq!(
        (answer.status, answer.header("X-Cf-RouterError")),
        (502, Some("endpoint_failure (EOF)"))
    );
    let report = router.report(|report| report.instances[&app.id()].requests == 1).await;
    assert_eq!(report.instances[&app.id()].errors, 1);
}

#[tokio::test]
async fn app_that_answers_nonsense_is_502() {
    let router = TestRouter::start().await;
    let app = App::start(|_| Reply::Last("SSH-2.0-OpenSSH_9.2\r\n".to_owned())).await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    assert_eq!(router.get("a.test", "/").await.status, 502);
}

#[tokio::test]
async fn app_that_stays_silent_is_504() {
    let router = TestRouter::with(|limits| limits.app_silence_ms = 100).await;
    let app = App::start(|_| Reply::Silence).await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let answer = router.get("a.test", "/").await;

    assert_eq!(answer.status, 504);
    assert_eq!(
        answer.header("X-Cf-RouterError"),
        Some("endpoint_failure (context deadline exceeded)")
    );
}

#[tokio::test]
async fn full_instance_is_503_until_it_has_room_again() {
    let router = TestRouter::with(|limits| limits.endpoint_in_flight_max = 1).await;
    let app = App::start(|seen| match seen.request_line().contains("/wait") {
        true => Reply::Silence,
        false => Reply::Text(crate::support::ok("hi")),
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut busy = router.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    router.report(|report| report.instances[&app.id()].in_flight == 1).await;
    let refused = router.get("a.test", "/").await;
    drop(busy);

    assert_eq!(
        (refused.status, refused.header("X-Cf-RouterError")),
        (503, Some("Connection Limit Reached"))
    );
    assert_eq!(
        refused.text(),
        "503 Service Unavailable: Requested route ('a.test') has reached the connection limit.\n"
    );
    eventually("there is room again", async || router.get("a.test", "/").await.status == 200).await;
}
