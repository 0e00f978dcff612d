//! The `cupola` command line, for those without `cf`: one file per verb.
//!
//! Data goes to standard output and everything else to standard error, so that output can be
//! piped. Exit codes: 0, 1 failed, 2 usage.
//!
//! Invariant: knows the wire only. It could be a program of its own.

mod app;
mod apps;
mod changes;
mod client;
mod commit;
mod completions;
mod cost;
mod credentials;
mod delete;
mod deploy;
mod dora;
mod env;
mod find;
mod lifecycle;
mod login;
mod logout;
mod logs;
mod map_route;
mod output;
mod promote;
mod pull;
mod push;
mod revisions;
mod rollback;
mod routes;
mod scale;
mod since;
mod status;
mod target;
mod why;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// What every verb may be told.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The platform on this machine with this run directory, whose administrator needs no login;
    /// wins over a login [without a login: /run/cupola]
    #[arg(long, env = "CUPOLA_RUN_DIR", value_name = "DIR", global = true)]
    pub run_dir: Option<std::path::PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Log in to a platform; from then on the other verbs are about it
    Login(login::Arguments),
    /// Forget the login
    Logout(logout::Arguments),
    /// Build and run an app from a folder or zip
    Push(push::Arguments),
    /// List the apps of the space
    Apps(apps::Arguments),
    /// Show an app with its instances
    App(app::Arguments),
    /// Show the log of an app, or follow it
    Logs(logs::Arguments),
    /// Show, set or unset the environment of an app
    Env(env::Arguments),
    /// Change the number of instances, memory or disk
    Scale(scale::Arguments),
    /// Start an app
    Start(lifecycle::Arguments),
    /// Stop an app
    Stop(lifecycle::Arguments),
    /// Stop and start an app, or replace its instances one by one
    Restart(lifecycle::RestartArguments),
    /// List what an app ran, and can be rolled back to
    Revisions(revisions::Arguments),
    /// Run in another space what runs in this one, unchanged
    Promote(promote::Arguments),
    /// Show what an app can pull beyond what it has, and what that costs; pull it, or put it back
    Pull(pull::Arguments),
    /// Go back to an earlier revision with its scale, checks, routes and bindings
    Rollback(rollback::Arguments),
    /// Delete an app with its routes
    Delete(delete::Arguments),
    /// List the routes of the space
    Routes(routes::Arguments),
    /// Let a host and path lead to an app
    MapRoute(map_route::Arguments),
    /// List what changed in an app, newest first: by whom, and what came of it
    Changes(changes::Arguments),
    /// Show the five figures of DORA for an app, with how each is derived
    Dora(dora::Arguments),
    /// Explain the state of an app: last exits, failing checks, release phase, last build and deployment
    Why(why::Arguments),
    /// Show how the platform is
    Status(status::Arguments),
    /// Print the completions of a shell
    Completions(completions::Arguments),
}

/// Runs a verb to its end. `command` is the whole command line, for completions.
pub fn run(verb: Verb, command: &dyn Fn() -> clap::Command) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(perform(verb, command)),
        Err(error) => Err(anyhow::Error::new(error).context("cannot start the async runtime")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn perform(verb: Verb, command: &dyn Fn() -> clap::Command) -> anyhow::Result<()> {
    match verb {
        Verb::Login(arguments) => login::run(arguments).await,
        Verb::Logout(arguments) => logout::run(&arguments),
        Verb::Push(arguments) => push::run(arguments).await,
        Verb::Apps(arguments) => apps::run(arguments).await,
        Verb::App(arguments) => app::run(arguments).await,
        Verb::Logs(arguments) => logs::run(arguments).await,
        Verb::Env(arguments) => env::run(arguments).await,
        Verb::Scale(arguments) => scale::run(arguments).await,
        Verb::Start(arguments) => lifecycle::run("start", arguments).await,
        Verb::Stop(arguments) => lifecycle::run("stop", arguments).await,
        Verb::Restart(arguments) => lifecycle::restart(arguments).await,
        Verb::Revisions(arguments) => revisions::run(arguments).await,
        Verb::Promote(arguments) => promote::run(arguments).await,
        Verb::Pull(arguments) => pull::run(arguments).await,
        Verb::Rollback(arguments) => rollback::run(arguments).await,
        Verb::Delete(arguments) => delete::run(arguments).await,
        Verb::Routes(arguments) => routes::run(arguments).await,
        Verb::MapRoute(arguments) => map_route::run(arguments).await,
        Verb::Changes(arguments) => changes::run(arguments).await,
        Verb::Dora(arguments) => dora::run(arguments).await,
        Verb::Why(arguments) => why::run(arguments).await,
        Verb::Status(arguments) => status::run(arguments).await,
        Verb::Completions(arguments) => completions::run(&arguments, command()),
    }
}
