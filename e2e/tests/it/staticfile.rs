//! What a Staticfile may ask for, seen through the router.

use std::process::Command;

use crate::{
    apps::{files, instance_ids, recent_logs},
    cli::Ran,
    http::{self, Answer},
    platform::{Platform, init_pid},
};

const OPEN_SITE: &[(&str, &str)] = &[
    (
        "Staticfile",
        "root: dist
directory: visible
ssi: enabled
pushstate: enabled
host_dot_files: true
location_include: includes/*.conf
http_strict_transport_security: true
http_strict_transport_security_include_subdomains: true
",
    ),
    ("dist/index.html", "the front page\n"),
    ("dist/parts.html", "before <!--#include virtual=\"/part.txt\" --> after\n"),
    ("dist/part.txt", "the part"),
    ("dist/listed/one.txt", "one\n"),
    ("dist/.well-known/token", "a token\n"),
    ("dist/packed.txt", "this page is there only compressed\n"),
    ("nginx/conf/includes/sample.conf", "add_header X-Sample yes;\n"),
    ("outside.txt", "nobody may read this\n"),
];

const STRICT_SITE: &[(&str, &str)] = &[
    (
        "Staticfile",
        "force_https: true
gzip: off
http_strict_transport_security: true
http_strict_transport_security_preload: true
",
    ),
    ("Staticfile.auth", "reader:{PLAIN}open sesame\n"),
    ("mime.types", "types { text/html html; text/x-odd odd; }\n"),
    ("index.html", "the strict page\n"),
    ("parts.html", "<!--#include virtual=\"/index.html\" -->\n"),
    ("one.odd", "odd\n"),
    ("folder/one.html", "one\n"),
    (".hidden", "nobody may read this\n"),
];

const OWN_NGINX_CONF: &str = r#"
worker_processes 1;
events { worker_connections 64; }
http {
  include mime.types;
  access_log <%= ENV["APP_ROOT"] %>/nginx/logs/access.log;
  server {
    listen <%= ENV["PORT"] %>;
    root <%= ENV["APP_ROOT"] %>/public;
    location = /word { return 200 "<%= ENV["WORD"] %>\n"; }
  }
}
"#;

#[test]
fn staticfile_keys_do_what_they_say() {
    let platform = Platform::start();

    std::thread::scope(|scope| {
        scope.spawn(|| open_site(&platform));
        scope.spawn(|| {
            strict_site(&platform);
            own_nginx_conf(&platform);
            refused_include(&platform);
            site_over_http2(&platform);
        });
    });
}

fn push(platform: &Platform, name: &str, site: &[(&str, &str)], more: &[&str]) -> Ran {
    let folder = files(platform, name, site);
    let packed = folder.join("dist/packed.txt");
    if packed.exists() {
        assert!(Command::new("gzip").arg(packed).status().unwrap().success());
    }
    let cf = platform.cf_admin_beside(name);
    cf.run(&[&["push", name, "-p", folder.to_str().unwrap(), "-m", "32M"], more].concat())
}

fn ask(platform: &Platform, app: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let host = format!("{app}.apps.localhost");
    http::request(platform.router, &host, "GET", path, headers, b"").unwrap()
}

#[track_caller]
fn expect(answer: &Answer, status: u16, body: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(body), "{answer:?}");
}

fn open_site(platform: &Platform) {
    // Long enough to be worth compressing.
    let long = "a line of a long page\n".repeat(200);
    let site = [OPEN_SITE, &[("dist/long.txt", long.as_str())]].concat();
    let pushed = push(platform, "open", &site, &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");

    let front = platform.get("open", "/");
    expect(&front, 200, "the front page");
    assert_eq!(front.header("x-sample"), Some("yes"), "location_include: {front:?}");
    assert_eq!(
        front.header("strict-transport-security"),
        Some("max-age=31536000; includeSubDomains")
    );
    expect(&platform.get("open", "/parts.html"), 200, "before the part after");
    expect(&platform.get("open", "/listed/"), 200, "one.txt");
    expect(&platform.get("open", "/no/such/page"), 200, "the front page");
    expect(&platform.get("open", "/.well-known/token"), 200, "a token");
    expect(&platform.get("open", "/packed.txt"), 200, "only compressed");
    // With pushstate, what is not below root is the front page, too.
    expect(&platform.get("open", "/outside.txt"), 200, "the front page");
    expect(&platform.get("open", "/../outside.txt"), 400, "");

    let compressed = ask(platform, "open", "/long.txt", &[("Accept-Encoding", "gzip")]);
    assert_eq!(compressed.header("content-encoding"), Some("gzip"), "{}", compressed.head);
    assert_eq!(platform.get("open", "/long.txt").body, long);
}

fn strict_site(platform: &Platform) {
    let long = "a line of a long page\n".repeat(200);
    let site = [STRICT_SITE, &[("long.html", long.as_str())]].concat();
    let pushed = push(platform, "strict", &site, &[]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    let secure = ("X-Forwarded-Proto", "https");
    let allowed = ("Authorization", "Basic cmVhZGVyOm9wZW4gc2VzYW1l");

    let plain = ask(platform, "strict", "/a?b=c", &[allowed]);
    assert_eq!(plain.status, 301, "force_https: {plain:?}");
    assert_eq!(plain.header("location"), Some("https://strict.apps.localhost/a?b=c"));
    let stranger = ask(platform, "strict", "/", &[secure]);
    expect(&stranger, 401, "");
    assert!(stranger.header("www-authenticate").is_some(), "{stranger:?}");
    let wrong = ("Authorization", "Basic cmVhZGVyOndyb25n");
    expect(&ask(platform, "strict", "/", &[secure, wrong]), 401, "");

    let get = |path: &str| ask(platform, "strict", path, &[secure, allowed]);
    let front = get("/");
    expect(&front, 200, "the strict page");
    assert_eq!(
        front.header("strict-transport-security"),
        Some("max-age=31536000; includeSubDomains; preload")
    );
    let odd = get("/one.odd");
    assert!(odd.header("content-type").is_some_and(|kind| kind.starts_with("text/x-odd")));
    // What nobody asked for is off.
    expect(&get("/parts.html"), 200, "<!--#include");
    expect(&get("/folder/"), 403, "");
    expect(&get("/no/such/page"), 404, "");
    for hidden in ["/.hidden", "/Staticfile", "/Staticfile.auth", "/nginx/conf/nginx.conf"] {
        expect(&get(hidden), 404, "");
    }
    let headers = [secure, allowed, ("Accept-Encoding", "gzip")];
    let long = ask(platform, "strict", "/long.html", &headers);
    assert_eq!(long.header("content-encoding"), None, "gzip is off: {}", long.head);
}

fn own_nginx_conf(platform: &Platform) {
    let site = [("Staticfile", ""), ("nginx.conf", OWN_NGINX_CONF), ("index.html", "my own\n")];
    let pushed = push(platform, "own", &site, &["--no-start"]);
    assert_eq!(pushed.code, Some(0), "{pushed}");
    let cf = platform.cf_admin_beside("own");
    cf.ok(&["set-env", "own", "WORD", "from-the-environment"]);

    cf.ok(&["start", "own"]).says("running");

    expect(&platform.get("own", "/"), 200, "my own");
    expect(&platform.get("own", "/word"), 200, "from-the-environment");
}

fn refused_include(platform: &Platform) {
    let site = [
        ("Staticfile", "location_include: includes/*.conf\n"),
        ("index.html", "x\n"),
        ("nginx/conf/includes/wrong.conf", "no_such_directive on;\n"),
    ];

    let pushed = push(platform, "refused", &site, &[]);

    assert_eq!(pushed.code, Some(1), "{pushed}");
    let log = recent_logs(&platform.cf_admin_beside("refused"), "refused");
    log.says("nginx refuses the configuration").says("no_such_directive").says("hint:");
}

/// The router speaks HTTP/1.1 to apps, so that the instance is asked where it is.
fn site_over_http2(platform: &Platform) {
    let site = [("Staticfile", "enable_http2: true\n"), ("index.html", "the swift page\n")];

    let pushed = push(platform, "swift", &site, &["-u", "process"]);

    assert_eq!(pushed.code, Some(0), "{pushed}");
    let cf = platform.cf_admin_beside("swift");
    let init = init_pid(&instance_ids(&cf, "swift")[0]).to_string();
    let mut curl = Command::new("nsenter");
    curl.args(["--target", &init, "--net", "curl", "--silent", "--show-error"]);
    curl.args(["--http2-prior-knowledge", "--retry", "9", "--retry-connrefused"]);
    let answer = curl.args(["--write-out", "%{http_version}", "http://127.0.0.1:8080/"]).output();
    let answer = answer.expect("curl and nsenter are there");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "the swift page\n2", "{answer:?}");
}
