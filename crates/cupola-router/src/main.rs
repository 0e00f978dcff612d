//! The router role alone, as the tests and the benchmark run it. The platform runs it as
//! `cupola router`.

use std::process::ExitCode;

use cupola_router::{RouterArgs, router_main};

fn main() -> ExitCode {
    // The first argument is the name of the role.
    let result = RouterArgs::parse(std::env::args_os().skip(2))
        .map_err(|error| error.to_string())
        .and_then(|args| router_main(args).map_err(|error| describe(&error)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[expect(clippy::print_stderr, reason = "a program without a logger")]
fn tell(error: &str) {
    eprintln!("cupola-router: {error}");
}
