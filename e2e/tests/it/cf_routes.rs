//! Routes and domains, from the command line to the answer of the router.

use crate::{
    apps::{binary_app, push},
    http,
    platform::{Platform, wait_for},
};

#[test]
fn cf_routes_are_made_mapped_unmapped_and_deleted() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    let folder = binary_app(&platform, "app");
    for app in ["blue", "green"] {
        let pushed = push(&cf, app, &folder, &["--no-route"]);
        assert_eq!(pushed.code, Some(0), "{pushed}");
    }
    let asked = |host: &str, path: &str, status: u16| {
        let host = format!("{host}.apps.localhost");
        wait_for(&format!("{status} of {host}{path}"), || {
            let answer = http::get(platform.router, &host, path).unwrap();
            (answer.status == status).then_some(())
        });
    };

    cf.types("domains").says("apps.localhost").says("shared").says("http");
    cf.types("routes").says("No routes found");
    cf.types("create-route apps.localhost --hostname site")
        .says("Route site.apps.localhost has been created");
    cf.types("create-route apps.localhost --hostname site").says("already exists");
    cf.types("check-route apps.localhost --hostname site").says("does exist");
    cf.types("check-route apps.localhost --hostname other").says("does not exist");
    cf.is_refused("create-route nowhere.example --hostname x")
        .says("Domain 'nowhere.example' not found");
    cf.is_refused("create-route apps.localhost").says("host");
    // A route without an app is there, and has nobody behind it.
    asked("site", "/", 503);

    cf.types("map-route blue apps.localhost --hostname site").says("OK");
    cf.types("map-route blue apps.localhost --hostname site").says("OK");
    asked("site", "/", 200);
    // The longest path wins; the app without a page of that name tells which one answered.
    cf.types("map-route green apps.localhost --hostname site --path /env").says("Creating route");
    asked("site", "/env", 200);
    let answer = http::get(platform.router, "site.apps.localhost", "/env").unwrap();
    assert!(answer.body.contains("\"application_name\":\"green\""), "{}", answer.body);
    let answer = http::get(platform.router, "site.apps.localhost", "/environment").unwrap();
    assert_eq!(answer.status, 404, "a path matches whole segments only: {answer:?}");
    let routes = cf.types("routes");
    routes.says("site").says("/env").says("blue").says("green").says("http1");
    cf.types("app blue").says("site.apps.localhost");

    // Two apps behind one route share it.
    cf.types("map-route green apps.localhost --hostname site");
    cf.types("routes").says("blue, green");
    cf.types("unmap-route blue apps.localhost --hostname site").says("OK");
    cf.types("unmap-route green apps.localhost --hostname site").says("OK");
    cf.is_refused("unmap-route green apps.localhost --hostname none").says("not found");
    asked("site", "/", 503);

    cf.types("delete-route -f apps.localhost --hostname site --path /env").says("OK");
    cf.types("delete-route -f apps.localhost --hostname site --path /env").says("Unable to delete");
    asked("site", "/env", 503);
    cf.types("delete-orphaned-routes -f").says("OK");
    asked("site", "/", 404);
    cf.types("routes").says("No routes found");

    // What an app leaves behind stays, until it is asked for with `-r`.
    cf.types("map-route blue apps.localhost --hostname left");
    cf.types("delete -f blue");
    cf.types("routes").says("left");
    cf.types("map-route green apps.localhost --hostname left");
    asked("left", "/", 200);
    cf.types("delete -f -r green");
    asked("left", "/", 404);
}

#[test]
fn cf_route_of_another_space_cannot_be_taken() {
    let platform = Platform::start();
    let cf = platform.cf_admin();
    cf.types("create-route apps.localhost --hostname mine");
    cf.types("create-space other -o default");
    cf.types("target -s other");
    cf.is_refused("create-route apps.localhost --hostname mine --path /sub")
        .says("reserved for another space");
    let pushed = push(&cf, "mine", &binary_app(&platform, "mine"), &["--no-start"]);
    assert_eq!(pushed.code, Some(1), "{pushed}");
    pushed.says("mine.apps.localhost");
    cf.types("apps").says("No apps found");
    cf.types("routes --org-level").says("mine");
}
