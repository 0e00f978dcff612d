//! Sticky sessions over the wire.

use crate::support::{Answer, App, Reply, TestRouter, route};

async fn ask(router: &TestRouter, cookie: &str) -> Answer {
    let mut client = router.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {cookie}\r\n\r\n")).await;
    client.answer().await
}

async fn session_app(name: &'static str) -> App {
    App::start(move |seen| {
        let set = match seen.header("Cookie") {
            Some(cookie) if cookie.contains("JSESSIONID") => "",
            _ => "Set-Cookie: JSESSIONID=s; Path=/\r\n",
        };
        Reply::Text(format!("HTTP/1.1 200 OK\r\n{set}Content-Length: 1\r\n\r\n{name}"))
    })
    .await
}

#[tokio::test]
async fn session_returns_to_the_instance_that_began_it_and_moves_when_it_is_gone() {
    let router = TestRouter::start().await;
    let apps = [session_app("0").await, session_app("1").await, session_app("2").await];
    let all: Vec<_> = apps.iter().map(|app| app.endpoint.clone()).collect();
    router.serve([route("a.test", all.clone())]).await;

    let began = router.get("a.test", "/").await;
    let home: usize = began.text().parse().unwrap();
    let id = apps[home].id();
    let cookie = format!("JSESSIONID=s; __VCAP_ID__={id}");
    let mut returned = Vec::new();
    for _ in 0..6 {
        returned.push(ask(&router, &cookie).await);
    }
    let left = all.iter().filter(|it| it.instance_id != id).cloned().collect();
    router.serve([route("a.test", left)]).await;
    let moved = ask(&router, &cookie).await;

    assert!(began.head.contains(&format!("__VCAP_ID__={id}; Path=/; HttpOnly")), "{}", began.head);
    assert!(returned.iter().all(|answer| answer.text() == began.text()));
    assert!(returned.iter().all(|answer| answer.header("Set-Cookie").is_none()));
    let new_home: usize = moved.text().parse().unwrap();
    assert_ne!(new_home, home);
    assert_eq!(
        moved.header("Set-Cookie"),
        Some(&*format!("__VCAP_ID__={}; Path=/; HttpOnly", apps[new_home].id()))
    );
}
