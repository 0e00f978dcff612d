//! The parts of `make`: checks of the house, preparation of a machine, tests, demo, measurements.

mod architecture;
mod bench;
mod demo;
mod prepare;
mod run;
mod soak;
mod suite;
mod tidy;

use std::process::ExitCode;

use anyhow::bail;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(arguments.first().map(String::as_str), arguments.get(1..).unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Option<&str>, rest: &[String]) -> anyhow::Result<()> {
    match verb {
        Some("prepare") => prepare::everything(),
        Some("check") => suite::check(),
        Some("test") => suite::test(),
        Some("e2e") => suite::end_to_end(),
        Some("architecture") => architecture::check(),
        Some("tidy") => tidy::check(),
        Some("demo") => demo::start(),
        Some("run") => demo::platform(),
        Some("bench") => bench::bench(rest),
        Some("soak") => soak::soak(),
        _ => bail!("verbs: prepare, check, test, e2e, architecture, tidy, demo, run, bench, soak"),
    }
}
