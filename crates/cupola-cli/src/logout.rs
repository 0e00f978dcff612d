//! `cupola logout`.

use clap::Args;

use crate::{credentials::Login, output::say};

#[derive(Args)]
pub struct Arguments {}

pub(crate) fn run(_arguments: &Arguments) -> anyhow::Result<()> {
    match Login::forget()? {
        true => say("logged out"),
        false => say("you were not logged in"),
    }
    Ok(())
}
