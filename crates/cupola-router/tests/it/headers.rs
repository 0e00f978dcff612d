//! What an app is told about a request, and what never crosses the router.

use cupola_domain::ids::AppId;

use crate::support::{App, Reply, TestRouter, route, route_of};

#[tokio::test]
async fn app_is_told_who_asks_and_which_instance_it_is() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    let app_id = AppId::random();
    router.serve([route_of(app_id, "a.test", vec![app.endpoint.clone()])]).await;

    let answer = router.get("a.test", "/x?y=z").await;

    let seen = app.last();
    assert_eq!(seen.request_line(), "GET /x?y=z HTTP/1.1");
    assert_eq!(seen.header("X-CF-ApplicationID"), Some(&*app_id.to_string()));
    assert_eq!(seen.header("X-CF-InstanceID"), Some(&*app.id().to_string()));
    assert_eq!(seen.header("X-CF-InstanceIndex"), Some("0"));
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
    assert_eq!(seen.header("Host"), Some("a.test"));
    assert_eq!(seen.header("X-Request-Start").unwrap().len(), 13);
    assert_eq!(seen.header("X-Vcap-Request-Id"), answer.header("X-Vcap-Request-Id"));
    assert_eq!(seen.header("X-Vcap-Request-Id").unwrap().len(), 36);
}

#[tokio::test]
async fn client_can_neither_forge_nor_strip_the_routers_headers() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: X-Forwarded-For, X-CF-InstanceID, X-Drop\r\n\
             X-Drop: 1\r\nX-Forwarded-For: 9.9.9.9\r\nX-Vcap-Request-Id: mine\r\n\
             X-CF-ApplicationID: mine\r\nX-CF-InstanceID: mine\r\nKeep-Alive: 5\r\n\
             Proxy-Connection: x\r\nProxy-Authorization: x\r\nTE: gzip\r\nX-Request-Start: 1\r\n\r\n",
        )
        .await;
    client.answer().await;

    let seen = app.last();
    assert_eq!(seen.header("X-Forwarded-For"), Some("9.9.9.9, 127.0.0.1"));
    assert_ne!(seen.header("X-Vcap-Request-Id"), Some("mine"));
    assert_ne!(seen.header("X-CF-ApplicationID"), Some("mine"));
    assert_eq!(seen.header("X-CF-InstanceID"), Some(&*app.id().to_string()));
    assert_eq!(seen.header("X-Request-Start"), Some("1"));
    for gone in
        ["X-Drop", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Connection"]
    {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn what_a_foreign_peer_says_of_its_client_is_dropped() {
    let router = TestRouter::with_config(|config| {
        config.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: bank.test\r\nX-Forwarded-Port: 443\r\nForwarded: for=9.9.9.9\r\n\
             X-Forwarded-Client-Cert: mine\r\nX_Forwarded_Proto: https\r\nX-Forward: kept\r\n\r\n",
        )
        .await;
    client.answer().await;

    let seen = app.last();
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
    assert_eq!(seen.header("X-Forward"), Some("kept"));
    for gone in [
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "Forwarded",
        "X-Forwarded-Client-Cert",
        "X_Forwarded_Proto",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn proxy_on_this_machine_is_believed() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 9.9.9.9\r\n\
             X-Forwarded-Proto: https\r\nForwarded: for=9.9.9.9\r\n\r\n",
        )
        .await;
    client.answer().await;

    let seen = app.last();
    assert_eq!(seen.header("X-Forwarded-For"), Some("9.9.9.9, 127.0.0.1"));
    assert_eq!(seen.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(seen.header("Forwarded"), Some("for=9.9.9.9"));
}

#[tokio::test]
async fn host_may_have_a_port_upper_case_and_a_trailing_dot() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let statuses = [
        router.get("A.Test", "/").await.status,
        router.get("a.test:8080", "/").await.status,
        router.get("a.test.", "/").await.status,
        router.get("b.test", "/").await.status,
    ];

    assert_eq!(statuses, [200, 200, 200, 404]);
    assert_eq!(app.seen()[1].header("Host"), Some("a.test:8080"));
}

#[tokio::test]
async fn absolute_form_is_routed_by_its_target_and_rewrites_host() {
    let router = TestRouter::start().await;
    let app = App::saying("hi").await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET http://a.test/p?q HTTP/1.1\r\nHost: other.test\r\n\r\n").await;

    assert_eq!(client.answer().await.status, 200);
    assert_eq!(app.last().request_line(), "GET /p?q HTTP/1.1");
    assert_eq!(app.last().header("Host"), Some("a.test"));
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_app_stop_at_the_router() {
    let router = TestRouter::start().await;
    let app = App::start(|_| {
        Reply::Last(
            "HTTP/1.1 200 OK\r\nConnection: close, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: timeout=5\r\n\
             X-Keep: 1\r\nX-Vcap-Request-Id: of-the-app\r\nContent-Length: 2\r\n\r\nhi"
                .to_owned(),
        )
    })
    .await;
    router.serve([route("a.test", vec![app.endpoint.clone()])]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let again = client.answer().await;

    assert_eq!((answer.header("X-Drop"), answer.header("Keep-Alive")), (None, None));
    assert_eq!((answer.header("X-Keep"), answer.header("Connection")), (Some("1"), None));
    assert_eq!(answer.header("X-Vcap-Request-Id"), Some("of-the-app"));
    assert_eq!(again.text(), "hi");
}

#[tokio::test]
async fn longest_path_then_exact_host_then_wildcard_decides() {
    let router = TestRouter::start().await;
    let apps = [App::saying("root").await, App::saying("path").await, App::saying("wild").await];
    router
        .serve([
            route("a.test", vec![apps[0].endpoint.clone()]),
            route("a.test/api", vec![apps[1].endpoint.clone()]),
            route("*.test", vec![apps[2].endpoint.clone()]),
        ])
        .await;

    assert_eq!(router.get("a.test", "/").await.text(), "root");
    assert_eq!(router.get("a.test", "/api/v1").await.text(), "path");
    assert_eq!(router.get("a.test", "/apix").await.text(), "root");
    assert_eq!(router.get("deep.b.test", "/").await.text(), "wild");
}

#[tokio::test]
async fn steering_headers_choose_the_instance_and_stay_with_the_router() {
    let router = TestRouter::start().await;
    let (first, mut second) = (App::saying("0").await, App::saying("1").await);
    second.endpoint.index = 1;
    let app_id = AppId::random();
    let endpoints = vec![first.endpoint.clone(), second.endpoint.clone()];
    router.serve([route_of(app_id, "a.test", endpoints)]).await;
    let ask = async |header: String| {
        let mut client = router.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{header}\r\n\r\n")).await;
        client.answer().await
    };

    let by_app = ask(format!("X-Cf-App-Instance: {app_id}:1")).await;
    let process = second.endpoint.process_id;
    let by_process = ask(format!("X-Cf-Process-Instance: {process}")).await;
    let malformed = ask("X-Cf-App-Instance: nonsense:1".to_owned()).await;
    let malformed_process = ask("X-Cf-Process-Instance: x".to_owned()).await;
    let missing = ask(format!("X-Cf-App-Instance: {app_id}:7")).await;
    let missing_process = ask(format!("X-Cf-Process-Instance: {process}:9")).await;

    assert_eq!((by_app.text(), by_process.text()), ("1", "1"));
    assert_eq!(second.last().header("X-Cf-App-Instance"), None);
    assert_eq!(second.last().header("X-Cf-Process-Instance"), None);
    assert_eq!(malformed.header("X-Cf-RouterError"), Some("invalid_cf_app_instance_header"));
    assert_eq!(malformed.text(), "400 Bad Request: Invalid X-CF-App-Instance Header\n");
    assert_eq!(
        malformed_process.header("X-Cf-RouterError"),
        Some("invalid_cf_process_instance_header")
    );
    assert_eq!(missing.header("X-Cf-RouterError"), Some("unknown_route"));
    assert_eq!(
        missing.text(),
        format!(
            "400 Bad Request: Requested instance ('7') with guid ('{app_id}') does not exist for \
             route ('a.test')\n"
        )
    );
    assert_eq!(missing_process.status, 400);
}

#[tokio::test]
async fn header_rule_wins_over_the_rule_for_all() {
    use cupola_domain::route_table::RequestMatch;
    let router = TestRouter::start().await;
    let (stable, canary) = (App::saying("stable").await, App::saying("canary").await);
    let (key, mut entry) = route("a.test", vec![stable.endpoint.clone()]);
    let (_, for_canary) = route("a.test", vec![canary.endpoint.clone()]);
    let mut rule = for_canary.rules[0].clone();
    rule.matches =
        RequestMatch::HeaderEquals { name: "x-canary".to_owned(), value: "yes".to_owned() };
    entry.rules.insert(0, rule);
    router.serve([(key, entry)]).await;

    let mut client = router.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nX-Canary: yes\r\n\r\n").await;

    assert_eq!(client.answer().await.text(), "canary");
    assert_eq!(router.get("a.test", "/").await.text(), "stable");
}

#[tokio::test]
async fn weights_share_the_requests_between_groups() {
    let router = TestRouter::start().await;
    let (heavy, light, off) =
        (App::saying("h").await, App::saying("l").await, App::saying("o").await);
    let (key, mut entry) = route("a.test", vec![heavy.endpoint.clone()]);
    for (app, weight) in [(&light, 1), (&off, 0)] {
        let (_, other) = route("a.test", vec![app.endpoint.clone()]);
        let mut group = other.rules[0].groups[0].clone();
        group.weight = weight;
        entry.rules[0].groups.push(group);
    }
    entry.rules[0].groups[0].weight = 3;
    router.serve([(key, entry)]).await;

    let mut client = router.connect().await;
    for _ in 0..400 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        client.answer().await;
    }

    assert_eq!(off.seen().len(), 0);
    // 300 wanted; five standard deviations either way.
    let share = heavy.seen().len();
    assert!((257..=343).contains(&share), "{share} of 400");
}
