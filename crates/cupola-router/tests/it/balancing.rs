//! Load balancing and weights over the wire, with workers on two threads.

use std::collections::BTreeMap;

use cupola_domain::{
    ids::AppId,
    route_table::{Endpoint, LoadBalancing, RouteEntry, RouteKey},
};

use crate::support::{App, Reply, TestRouter, eventually, route, route_of};

const NAMES: [&str; 3] = ["0", "1", "2"];

async fn three_apps() -> Vec<App> {
    let mut apps = Vec::new();
    for (index, name) in NAMES.into_iter().enumerate() {
        let mut app = App::saying(name).await;
        app.endpoint.index = u32::try_from(index).unwrap();
        apps.push(app);
    }
    apps
}

fn endpoints(apps: &[App]) -> Vec<Endpoint> {
    apps.iter().map(|app| app.endpoint.clone()).collect()
}

fn balanced(
    (key, mut entry): (RouteKey, RouteEntry),
    load_balancing: LoadBalancing,
) -> (RouteKey, RouteEntry) {
    entry.load_balancing = load_balancing;
    (key, entry)
}

fn by_user(balance_permille: u32) -> LoadBalancing {
    LoadBalancing::Hash { header: "x-user".to_owned(), balance_permille }
}

/// Who answered the request of each user.
async fn homes(router: &TestRouter, users: u32) -> BTreeMap<u32, String> {
    let mut homes = BTreeMap::new();
    for user in 0..users {
        let mut client = router.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-User: {user}\r\n\r\n")).await;
        homes.insert(user, client.answer().await.text().to_owned());
    }
    homes
}

/// How many of this many requests each app answered.
async fn counts(router: &TestRouter, requests: u32) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(router.get("a.test", "/").await.text().to_owned()).or_default() += 1;
    }
    counts
}

/// Two apps on one route, with these weights.
fn shared_route(of: [(&[App], u32); 2], is_pooled: bool) -> (RouteKey, RouteEntry) {
    let [first, second] = of;
    let (key, mut entry) = route_of(AppId::random(), "a.test", endpoints(first.0));
    let (_, other) = route_of(AppId::random(), "a.test", endpoints(second.0));
    let rule = &mut entry.rules[0];
    rule.groups.extend(other.rules.into_iter().flat_map(|rule| rule.groups));
    (rule.groups[0].weight, rule.groups[1].weight) = (first.1, second.1);
    rule.is_pooled = is_pooled;
    (key, entry)
}

#[tokio::test]
async fn user_returns_to_the_same_instance_and_only_those_of_a_lost_one_move() {
    let router = TestRouter::start().await;
    let apps = three_apps().await;
    router.serve([balanced(route("a.test", endpoints(&apps)), by_user(0))]).await;

    let before = homes(&router, 30).await;
    let again = homes(&router, 30).await;
    router.serve([balanced(route("a.test", endpoints(&apps[..2])), by_user(0))]).await;
    let after = homes(&router, 30).await;

    assert_eq!(before, again);
    let stayed = |user: &u32| before[user] != "2";
    assert!(before.keys().filter(|user| stayed(user)).all(|user| before[user] == after[user]));
    assert!(after.values().all(|home| home != "2"));
}

#[tokio::test]
async fn request_goes_where_the_fewest_are_under_way_whoever_took_them() {
    let router = TestRouter::start().await;
    let mut apps = three_apps().await;
    let busy = App::start(|_| Reply::Silence).await;
    apps[0].endpoint.address = busy.endpoint.address;
    let least = LoadBalancing::LeastConnection;
    router.serve([balanced(route("a.test", endpoints(&apps)), least)]).await;

    // One of three in a row meets the instance that keeps its request.
    let mut client = router.connect().await;
    loop {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        tokio::select! {
            _answer = client.answer() => {}
            () = eventually("a request waits", async || !busy.seen().is_empty()) => break,
        }
    }
    let answered = counts(&router, 20).await;

    assert_eq!(answered.len(), 2, "{answered:?}");
    assert!(!answered.contains_key("0"), "{answered:?}");
}

#[tokio::test]
async fn apps_of_one_route_share_by_weight_and_a_weight_of_zero_gets_nothing() {
    let router = TestRouter::start().await;
    let apps = three_apps().await;

    router.serve([shared_route([(&apps[..1], 10), (&apps[1..2], 90)], false)]).await;
    let weighted = counts(&router, 300).await;
    router.serve([shared_route([(&apps[..1], 0), (&apps[1..2], 100)], false)]).await;
    let dark = counts(&router, 30).await;

    // The mean is 30 and the standard deviation 5.
    assert!((5..60).contains(&weighted["0"]), "{weighted:?}");
    assert_eq!(dark, BTreeMap::from([("1".to_owned(), 30)]));
}

#[tokio::test]
async fn apps_without_weights_share_by_their_numbers_of_instances() {
    let router = TestRouter::start().await;
    let apps = three_apps().await;
    router.serve([shared_route([(&apps[..1], 1), (&apps[1..], 1)], true)]).await;

    let counts = counts(&router, 30).await;

    assert!(counts.values().all(|count| *count == 10), "{counts:?}");
}

#[tokio::test]
async fn session_cookie_comes_before_the_hash() {
    let router = TestRouter::start().await;
    let apps = three_apps().await;
    router.serve([balanced(route("a.test", endpoints(&apps)), by_user(1_250))]).await;
    let home = homes(&router, 1).await[&0].clone();
    let other = apps.iter().zip(NAMES).find(|(_, name)| **name != *home).unwrap();

    let mut client = router.connect().await;
    let id = other.0.id();
    let head = "GET / HTTP/1.1\r\nHost: a.test\r\nX-User: 0\r\nCookie: ";
    client.send(&format!("{head}JSESSIONID=s; __VCAP_ID__={id}\r\n\r\n")).await;

    assert_eq!(client.answer().await.text(), other.1);
}
