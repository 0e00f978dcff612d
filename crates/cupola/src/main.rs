//! The cupola binary: arguments, configuration, adapters, roles.

mod config;
mod doctor;
mod down;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    Doctor(config::Place),
    #[command(flatten)]
    Client(cupola_cli::Verb),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if let Some(role) = arguments.next().and_then(|name| Role::named(&name)) {
        return role.run(arguments.collect());
    }
    let Arguments { command } = Arguments::parse();
    let outcome = match command {
        Command::Up(options) => up::run(*options),
        Command::Down(place) => down::run(&place),
        Command::Doctor(place) => doctor::run(&place),
        Command::Client(verb) => return cupola_cli::run(verb, &Arguments::command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Parts of the platform that are processes of their own. They are entered before anything else is
/// set up, so that they stay small and run in any root file system.
#[derive(Clone, Copy)]
enum Role {
    /// Process 1 of a container.
    Init,
    /// Watches one container from outside.
    Shim,
    /// Unpacks an upload, inside a container.
    Unpack,
    /// Runs buildpacks, inside a container.
    Builder,
    /// The data plane.
    Router,
}

impl Role {
    fn named(name: &std::ffi::OsStr) -> Option<Self> {
        match name.to_str()? {
            "init" => Some(Self::Init),
            "shim" => Some(Self::Shim),
            "unpack" => Some(Self::Unpack),
            "builder" => Some(Self::Builder),
            "router" => Some(Self::Router),
            _ => None,
        }
    }

    fn run(self, arguments: Vec<std::ffi::OsString>) -> ExitCode {
        match self {
            Self::Init => cupola_runtime::init_main(arguments),
            Self::Shim => cupola_runtime::shim_main(arguments),
            Self::Unpack => cupola_staging::unpack_main(arguments),
            Self::Builder => cupola_staging::builder_main(arguments),
            Self::Router => cupola_router::router_main(arguments),
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last words of a process that could not do its work")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("cupola: {error:#}");
    ExitCode::FAILURE
}
