//! How soon a route change is visible, and how long lists of 10 000 apps take.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{
    http::Client,
    platform::{PATIENCE, Platform},
    push::RUNNING_APP,
    report::{Row, Verdict},
    stats::Samples,
};

const ROUTE_CHANGES: usize = 30;
const ROUTE_MS_MAX: f64 = 100.0;
const APPS: usize = 10_000;
/// Size of a page, how often one is asked for, and the budget.
const PAGES: [(usize, usize, f64); 2] = [(50, 400, 50.0), (5_000, 30, 1_000.0)];
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// From the request that maps a route to the first answer through it.
pub(super) fn route_change(platform: &mut Platform) -> anyhow::Result<Row> {
    let app = platform.find(&format!("/v3/apps?names={RUNNING_APP}"))?;
    let domain = platform.find("/v3/domains?names=apps.localhost")?;
    let space = platform.find("/v3/spaces?names=dev")?;
    let mut times = Vec::new();
    for number in 0..ROUTE_CHANGES {
        let host = format!("mapped-{number}");
        let route = platform.post(
            "/v3/routes",
            &json!({ "host": host, "relationships": {
                "domain": { "data": { "guid": domain } }, "space": { "data": { "guid": space } },
            } }),
        )?;
        let guid = route["guid"].as_str().context("a route has no guid")?;
        times.push(map_ms(platform, guid, &app, &host)?);
    }
    let times = Samples::new(times);
    Ok(Row {
        what: "route change visible",
        budget: format!("{ROUTE_MS_MAX:.0} ms"),
        measured: format!(
            "{:.1} ms [{:.1}, {:.1}], p95 {:.1} ms",
            times.median(),
            times.min(),
            times.max(),
            times.percentile(95)
        ),
        n: times.n(),
        verdict: Verdict::at_most(times.percentile(95), ROUTE_MS_MAX, "ms"),
        method: "From the start of `POST /v3/routes/GUID/destinations` for a new route of the running Express sample to \
                 the first 200 through the router, asked for every millisecond after the API's answer. The verdict is \
                 of the 95th percentile."
            .to_owned(),
    })
}

fn map_ms(platform: &mut Platform, route: &str, app: &str, host: &str) -> anyhow::Result<f64> {
    let host = format!("{host}.apps.localhost");
    let mut client = Client::new(platform.router);
    let body = json!({ "destinations": [{ "app": { "guid": app } }] });
    let started = Instant::now();
    platform.post(&format!("/v3/routes/{route}/destinations"), &body)?;
    while !client.get(&host, "/").is_ok_and(|answer| answer.status == 200) {
        if started.elapsed() > PATIENCE {
            bail!("{host} does not answer");
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// Makes the apps and reads them page by page, as `cf apps` orders them.
pub(super) fn lists(platform: &mut Platform) -> anyhow::Result<Vec<Row>> {
    let space = platform.find("/v3/spaces?names=dev")?;
    let started = Instant::now();
    for number in 0..APPS {
        let relationships = json!({ "space": { "data": { "guid": space } } });
        let name = format!("listed-{:05}", number * 7919 % APPS);
        platform.post("/v3/apps", &json!({ "name": name, "relationships": relationships }))?;
    }
    let creating = started.elapsed().as_secs_f64();
    let created = Row {
        what: "creating an app by the API",
        budget: "-".to_owned(),
        measured: format!("{:.1} ms", creating * 1e3 / APPS as f64),
        n: APPS,
        verdict: Verdict::Information,
        method: "`POST /v3/apps` one after the other; each is a transaction that is on the disk when it is answered."
            .to_owned(),
    };
    let mut rows = Vec::new();
    for page in PAGES {
        rows.push(list_row(platform, &space, page)?);
    }
    rows.push(created);
    Ok(rows)
}

fn list_row(
    platform: &mut Platform,
    space: &str,
    (size, n, budget): (usize, usize, f64),
) -> anyhow::Result<Row> {
    let mut times = Vec::new();
    for number in 0..n {
        let page = number % (APPS / size) + 1;
        let path =
            format!("/v3/apps?space_guids={space}&order_by=name&per_page={size}&page={page}");
        let started = Instant::now();
        let answer = platform.ask("GET", &path, "")?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        expect_page(&answer.body, size)?;
    }
    let times = Samples::new(times);
    let what =
        if size < 1_000 { "API list of 10 000 apps, 50 a page" } else { "the same, 5 000 a page" };
    let p99 = times.percentile(99);
    Ok(Row {
        what,
        budget: format!("p99 {budget:.0} ms"),
        measured: format!("p99 {p99:.1} ms, median {:.1} ms", times.median()),
        n: times.n(),
        verdict: Verdict::at_most(p99, budget, "ms"),
        method: list_method(size),
    })
}

fn list_method(size: usize) -> String {
    if size >= 1_000 {
        return String::new();
    }
    "10 000 apps of one space, made by the API. `GET /v3/apps?space_guids=…&order_by=name`, page after page, by the \
     administrator on one kept connection, from the request to the last byte. With few requests the 99th percentile \
     is the largest value."
        .to_owned()
}

fn expect_page(body: &str, size: usize) -> anyhow::Result<()> {
    let page: Value = serde_json::from_str(body).context("a page is not JSON")?;
    let got = page["resources"].as_array().map_or(0, Vec::len);
    if got != size {
        bail!("a page has {got} apps, expected {size}");
    }
    Ok(())
}
