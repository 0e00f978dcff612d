//! Tables go in, reports and access lines come out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cupola_domain::{
    ids::{AppId, InstanceId},
    route_table::RouteTable,
    traffic::RequestCounts,
};
use cupola_ports::{
    clock::{Clock, SystemClock},
    data_plane::DataPlane,
};
use cupola_router::RouterClient;
use tokio::time::timeout;

use crate::support::{App, PATIENCE, Reply, TestRouter, kill, ok, route, route_of, skim};

#[tokio::test]
async fn in_flight_is_reported_and_falls_to_zero_at_once() {
    let router = TestRouter::with(|limits| limits.report_ms = 60_000).await;
    let release = Arc::<tokio::sync::Notify>::default();
    let wait = release.clone();
    let app = App::raw(move |_, mut stream| {
        let wait = wait.clone();
        async move {
            skim(&mut stream).await;
            wait.notified().await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, ok("late").as_bytes()).await.unwrap();
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    // The route goes, the request stays. A served table is reported at once.
    crate::support::eventually("the request is on its way", async || app.connections() == 1).await;
    router.serve([]).await;
    let busy = router.report(|report| report.instances.contains_key(&app.id())).await;
    release.notify_one();
    let answer = client.answer().await;
    let idle = router.report(|report| report.instances[&app.id()].in_flight == 0).await;

    assert_eq!(busy.instances[&app.id()].in_flight, 1);
    assert_eq!(answer.text(), "late");
    assert_eq!(idle.instances[&app.id()].requests, 1);
}

#[tokio::test]
async fn access_lines_arrive_with_app_and_index() {
    let router = TestRouter::start().await;
    let mut lines = router.client.access_log().unwrap();
    let app = App::saying("hello").await;
    let (key, entry) = route("a.test", vec![app.endpoint.clone()]);
    let app_id = entry.rules[0].groups[0].app_id;
    router.serve([(key, entry)]).await;

    let mut client = router.connect().await;
    client
        .send(
            "POST /x?y HTTP/1.1\r\nHost: a.test\r\nUser-Agent: me\r\nContent-Length: 3\r\n\r\nabc",
        )
        .await;
    let answer = client.answer().await;
    let line = timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();

    assert_eq!((line.app_id, line.index), (app_id, 0));
    assert!(line.text.starts_with("a.test - [20"), "{}", line.text);
    assert!(
        line.text.contains("Z] \"POST /x?y HTTP/1.1\" 200 3 5 \"-\" \"me\" \"127.0.0.1:"),
        "{}",
        line.text
    );
    let request_id = answer.header("X-Vcap-Request-Id").unwrap();
    assert!(line.text.contains(&format!(
        "\"{}\" x_forwarded_for:\"127.0.0.1\" x_forwarded_proto:\"http\" vcap_request_id:\"{request_id}\" response_time:0.",
        app.endpoint.address
    )), "{}", line.text);
    assert!(line.text.ends_with(&format!(
        "app_id:\"{app_id}\" app_index:\"0\" instance_id:\"{}\" route_service_url:\"-\" x_cf_routererror:\"-\"",
        app.id()
    )), "{}", line.text);
}

#[tokio::test]
async fn access_line_is_of_the_time_when_the_request_ended() {
    let router = TestRouter::start().await;
    let mut lines = router.client.access_log().unwrap();
    let release = Arc::<tokio::sync::Notify>::default();
    let wait = release.clone();
    let app = App::raw(move |_, mut stream| {
        let wait = wait.clone();
        async move {
            skim(&mut stream).await;
            wait.notified().await;
            tokio::io::AsyncWriteExt::write_all(&mut stream, ok("late").as_bytes()).await.unwrap();
        }
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    crate::support::eventually("the request is on its way", async || app.connections() == 1).await;
    let answered_after = SystemClock::new().now();
    release.notify_one();
    client.answer().await;
    let line = timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();

    assert!(line.at >= answered_after, "{:?} is before {answered_after:?}", line.at);
    let started = line.text.split(['[', ']']).nth(1).unwrap();
    assert!(started < &*answered_after.rfc3339(), "{started} is after {answered_after:?}");
}

#[tokio::test]
async fn what_the_router_refuses_is_a_line_of_the_app_it_was_for() {
    let router = TestRouter::with(|limits| limits.endpoint_in_flight_max = 0).await;
    let mut lines = router.client.access_log().unwrap();
    let app = App::saying("hi").await;
    let (full_app, empty_app) = (AppId::random(), AppId::random());
    router
        .serve([
            route_of(full_app, "full.test", vec![app.endpoint.clone()]),
            route_of(empty_app, "empty.test", vec![]),
        ])
        .await;

    let full = router.get("full.test", "/x").await;
    let full_line = timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
    let empty = router.get("empty.test", "/y").await;
    let empty_line = timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();

    assert_eq!((full.status, empty.status), (503, 503));
    assert_eq!((full_line.app_id, empty_line.app_id), (full_app, empty_app));
    assert!(
        full_line.text.contains("\"GET /x HTTP/1.1\" 503 0 0 \"-\" \"-\" \"127.0.0.1:"),
        "{}",
        full_line.text
    );
    assert!(
        full_line.text.ends_with(&format!(
            "app_id:\"{full_app}\" app_index:\"-\" instance_id:\"-\" route_service_url:\"-\" \
         x_cf_routererror:\"Connection Limit Reached\""
        )),
        "{}",
        full_line.text
    );
    assert!(empty_line.text.ends_with("x_cf_routererror:\"no_endpoints\""), "{}", empty_line.text);
}

#[tokio::test]
async fn stale_epoch_and_version_are_refused() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    let routes = [route("a.test", vec![app.endpoint.clone()])].into_iter().collect();
    router.apply(RouteTable { epoch: 5, version: 9, routes }).await;
    router.report(|report| report.serving == Some((5, 9))).await;

    let old = RouterClient::start(&router.config.control_socket);
    old.apply(Arc::new(RouteTable { epoch: 4, version: 99, ..RouteTable::default() }))
        .await
        .unwrap();
    let mut report = old.report();
    timeout(PATIENCE, report.wait_for(|report| report.serving.is_some())).await.unwrap().unwrap();
    drop(old);
    let older = RouterClient::start(&router.config.control_socket);
    older
        .apply(Arc::new(RouteTable { epoch: 5, version: 8, ..RouteTable::default() }))
        .await
        .unwrap();
    let mut report = older.report();
    timeout(PATIENCE, report.wait_for(|report| report.serving.is_some())).await.unwrap().unwrap();

    assert_eq!(report.borrow().serving, Some((5, 9)));
    assert_eq!(router.get("a.test", "/").await.status, 200);
}

#[tokio::test]
async fn routes_go_on_while_control_is_away_and_it_catches_up_after() {
    let mut router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    router.client = RouterClient::start(router.directory.path().join("nobody.sock"));
    // A new control, as after a restart: its first word is its whole table.
    let next = RouterClient::start(&router.config.control_socket);
    let mut lines = next.access_log().unwrap();
    let routes = [route("b.test", vec![app.endpoint.clone()])].into_iter().collect();
    next.apply(Arc::new(RouteTable { epoch: 2, version: 1, routes })).await.unwrap();
    let mut report = next.report();
    timeout(PATIENCE, report.wait_for(|report| report.serving == Some((2, 1))))
        .await
        .unwrap()
        .unwrap();

    assert_eq!(router.get("a.test", "/").await.status, 404);
    assert_eq!(router.get("b.test", "/").await.status, 200);
    assert!(timeout(PATIENCE, lines.recv()).await.unwrap().is_some());
}

#[tokio::test]
async fn report_is_unknown_not_zero_while_the_router_is_away() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;
    let mut reports = router.client.report();
    let before = reports.borrow_and_update().restarts;

    kill(router.pid());

    let away = timeout(PATIENCE, reports.wait_for(|report| report.serving.is_none())).await;
    assert!(away.unwrap().unwrap().instances.is_empty());
    let back = router.report(|report| report.serving == Some((1, 1))).await;
    assert_eq!((before, back.restarts), (0, 1));
}

#[tokio::test]
async fn small_change_in_ten_thousand_routes_is_served_quickly() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    let mut routes: Vec<_> = (0..10_000)
        .map(|number| route(&format!("app{number}.test"), vec![app.endpoint.clone()]))
        .collect();
    router.serve(routes.clone()).await;

    let mut worst = Duration::ZERO;
    for number in 0..5 {
        routes[number] = route(&format!("new{number}.test"), vec![app.endpoint.clone()]);
        let started = Instant::now();
        router.serve(routes.clone()).await;
        worst = worst.max(started.elapsed());
    }

    assert_eq!(router.get("app9999.test", "/").await.status, 200);
    assert_eq!(router.get("app0.test", "/").await.status, 404);
    assert_eq!(router.get("new0.test", "/").await.status, 200);
    // Debug build, two shared cores; the whole table alone takes longer than this.
    assert!(worst < Duration::from_millis(1500), "{worst:?}");
}

#[tokio::test]
async fn tunnels_of_an_unknown_instance_are_no_error() {
    let router = TestRouter::start().await;
    router.serve([]).await;

    router.client.close_tunnels(InstanceId::random()).await.unwrap();

    let nobody = RouterClient::start(router.directory.path().join("no.sock"));
    let error = nobody.close_tunnels(InstanceId::random()).await.unwrap_err();
    assert!(error.to_string().contains("close the tunnels of instance"), "{error}");
}

#[tokio::test]
async fn control_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let router = TestRouter::start().await;

    let mode = std::fs::metadata(&router.config.control_socket).unwrap().permissions().mode();

    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn requests_are_counted_once_and_by_how_they_ended() {
    let app_id = AppId::random();
    let shop = App::start(|seen| match seen.request_line() {
        "GET /own HTTP/1.1" => {
            Reply::Text("HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n".to_owned())
        }
        "GET /cut HTTP/1.1" => {
            Reply::Cut("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_owned())
        }
        "GET /gone HTTP/1.1" => Reply::Nothing,
        _ => Reply::Text(ok("hello")),
    })
    .await;
    let router = TestRouter::start().await;
    let mut counted = router.client.request_counts().unwrap();
    assert!(router.client.request_counts().is_none());
    let none = route_of(app_id, "empty.test", Vec::new());
    router.serve([route_of(app_id, "shop.test", vec![shop.endpoint.clone()]), none]).await;

    for path in ["/", "/own", "/gone"] {
        router.get("shop.test", path).await;
    }
    let mut cut = router.connect().await;
    cut.send("GET /cut HTTP/1.1\r\nHost: shop.test\r\n\r\n").await;
    let (_, is_orderly) = cut.rest().await;
    assert_eq!(router.get("empty.test", "/").await.status, 503);

    let mut sum = RequestCounts::default();
    while sum.answers.iter().sum::<u64>() + sum.failed < 5 {
        let message = timeout(PATIENCE, counted.recv()).await.expect("told in time").unwrap();
        assert!(message.period < PATIENCE);
        message.apps.iter().for_each(|(app, counts)| {
            assert_eq!(*app, app_id);
            sum.add(counts);
        });
    }
    assert!(!is_orderly);
    assert_eq!((sum.answers, sum.failed), ([0, 1, 0, 0, 1], 3));
    assert_eq!(sum.latency.count(), 2);
    router.report(|report| report.is_counting).await;
}

#[tokio::test]
async fn answer_that_stops_is_a_failure_and_a_wrong_request_is_none_of_the_apps_answers() {
    let stalled = App::raw(|_, mut stream| async move {
        skim(&mut stream).await;
        let part = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
        tokio::io::AsyncWriteExt::write_all(&mut stream, part).await.unwrap();
        // Until the router gives up.
        let _end = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1]).await;
    })
    .await;
    let router = TestRouter::with(|limits| limits.app_silence_ms = 100).await;
    let mut counted = router.client.request_counts().unwrap();
    router.serve([route("a.test", vec![stalled.endpoint.clone()])]).await;

    let mut wrong = router.connect().await;
    wrong.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Cf-App-Instance: nonsense\r\n\r\n").await;
    let refused = wrong.answer().await;
    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    client.rest().await;

    let mut sum = RequestCounts::default();
    while sum.failed == 0 {
        let message = timeout(PATIENCE, counted.recv()).await.expect("told in time").unwrap();
        message.apps.iter().for_each(|(_, counts)| sum.add(counts));
    }
    assert_eq!(refused.status, 400);
    assert_eq!((sum.answers, sum.failed, sum.abandoned), ([0; 5], 1, 0));
}
