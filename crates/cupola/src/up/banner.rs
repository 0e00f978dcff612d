//! What `up` tells the person who started it.

use super::{admin::Password, tls};
use crate::config::Config;

#[expect(clippy::print_stdout, reason = "this is what the command is asked to show")]
pub(super) fn up(config: &Config, password: &Password, open_files: u64, warnings: &[String]) {
    println!("Cupola {} is up.", env!("CARGO_PKG_VERSION"));
    println!("  API        {}", config.external_url);
    println!("  apps       http://NAME.{}{}", config.apps_domain, port_of(config));
    println!("  data       {}", config.data_dir.display());
    println!("  run        {}", config.run_dir.display());
    println!("  open files {open_files}");
    match password {
        Password::Kept => println!("  admin      the password of the first start"),
        Password::Printed(password) => {
            println!("  admin      {password}   (shown this once; change it with `cf passwd`)");
        }
        Password::Written => println!("  admin      password written to {}", password_file(config)),
        Password::Read => println!("  admin      password read from {}", password_file(config)),
    }
    for warning in warnings {
        println!("  warning    {warning}");
    }
    println!();
    log_in(config);
    println!("         cf target -o default -s dev && cf push");
    println!("Or here: cupola push NAME --path FOLDER   (root on this machine needs no login)");
    println!("Ctrl-C ends control only: apps and routing go on. `cupola down` stops everything.");
}

/// How clients trust a certificate of our own authority is a part of it.
#[expect(clippy::print_stdout, reason = "this is what the command is asked to show")]
fn log_in(config: &Config) {
    let url = &config.external_url;
    if !config.needs_tls() || config.tls.is_some() {
        println!("Log in:  cf api {url} && cf auth admin PASSWORD");
        return;
    }
    let authority = tls::authority_file(&config.data_dir);
    let authority = authority.display();
    println!("Log in:  export SSL_CERT_FILE={authority}");
    println!("         cf api {url} && cf auth admin PASSWORD");
    println!("         (elsewhere with a copy of that file, on Linux; or unsafely, without it:");
    println!("         cf api {url} --skip-ssl-validation)");
    println!("    or:  cupola login {url} --ca-file {authority}");
}

#[expect(clippy::print_stdout, reason = "this is what the command is asked to show")]
pub(super) fn left(config: &Config) {
    println!();
    println!("Control has ended. Apps and routing go on without it:");
    println!("  cupola up    takes them over again");
    println!(
        "  cupola down --data-dir {} --run-dir {}    stops everything",
        config.data_dir.display(),
        config.run_dir.display()
    );
}

fn port_of(config: &Config) -> String {
    let port = config.router_addrs.first().map_or(80, std::net::SocketAddr::port);
    if port == 80 { String::new() } else { format!(":{port}") }
}

fn password_file(config: &Config) -> String {
    config.admin_password_file.as_ref().map_or_else(String::new, |path| path.display().to_string())
}
