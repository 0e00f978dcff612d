//! The cupola binary: arguments, configuration, adapters, roles.

mod config;
mod doctor;
mod down;
mod run_dir;
mod up;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use cupola_router::RouterArgs;

/// A platform as a service in one binary: push source, and it is built, isolated, routed, observed
/// and kept running. Speaks the Cloud Foundry v3 API, so that the cf CLI works unchanged.
#[derive(Parser)]
#[command(name = "cupola", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn this machine into a platform, and run it until Ctrl-C
    Up(Box<config::Options>),
    /// Stop the platform of this machine with every app, and leave nothing behind
    Down(config::Place),
    /// Probe this host: what containers, network and limits can be relied on
    Doctor(doctor::Arguments),
    #[command(flatten)]
    Client(cupola_cli::Verb),
}

fn main() -> ExitCode {
    if let Some(ended) = role(std::env::args_os().skip(1).collect()) {
        return ended;
    }
    let Arguments { command } = Arguments::parse();
    let outcome = match command {
        Command::Up(options) => up::run(*options),
        Command::Down(place) => down::run(place),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Client(verb) => return cupola_cli::run(verb, &Arguments::command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Parts of the platform that are processes of their own, or run inside containers: named by the
/// first argument, and entered before anything else is set up, so that they stay small and run in
/// any root file system.
fn role(mut arguments: Vec<OsString>) -> Option<ExitCode> {
    let name = arguments.first()?.to_str()?.to_owned();
    let mut rest = || arguments.split_off(1);
    match name.as_str() {
        "init" => cupola_runtime::init_main(rest()),
        "shim" => cupola_runtime::shim_main(rest()),
        cupola_staging::UNPACK_ROLE => Some(cupola_staging::unpack_main(rest())),
        cupola_staging::BUILDER_ROLE => Some(cupola_staging::builder_main(rest())),
        "router" => Some(router(rest())),
        _ => None,
    }
}

fn router(arguments: Vec<OsString>) -> ExitCode {
    up::start_logging();
    let ran = RouterArgs::parse(arguments)
        .map_err(anyhow::Error::from)
        .and_then(|arguments| Ok(cupola_router::router_main(arguments)?));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a process that could not do its work")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("cupola: {error:#}");
    ExitCode::FAILURE
}
