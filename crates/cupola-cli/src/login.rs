//! `cupola login URL`.

use std::{
    io::{IsTerminal, Stdin},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::{
    client::Client,
    credentials::Login,
    output::{say, say_beginning},
};

#[derive(Args)]
pub struct Arguments {
    /// The API, like https://api.example.com
    url: String,
    #[arg(short, long, default_value = "admin")]
    username: String,
    /// The organisation that the other verbs are about
    #[arg(short, long, default_value = "default")]
    organization: String,
    /// The space that the other verbs are about
    #[arg(short, long, default_value = "dev")]
    space: String,
    /// Read the password from this file; without it, one line of standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Trust the certificates in this file besides the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Believe any certificate: anybody on the way can read the password
    #[arg(long)]
    skip_ssl_validation: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let password = password(&arguments)?;
    let mut login = Login {
        api: arguments.url,
        organization: arguments.organization,
        space: arguments.space,
        // The other verbs are called in other folders.
        ca_file: arguments.ca_file.map(std::path::absolute).transpose()?,
        skip_tls_validation: arguments.skip_ssl_validation,
        ..Login::default()
    };
    let client = Client::logged_in(login.clone())?;
    let form = [
        ("grant_type", "password"),
        ("username", arguments.username.as_str()),
        ("password", password.as_str()),
    ];
    login.take_tokens(&client.token(&form).await?)?;
    login.save()?;
    say(&format!("logged in to {} as {}", login.api, arguments.username));
    Ok(())
}

/// From the file, typed without an echo, or the first line of what is piped in.
fn password(arguments: &Arguments) -> anyhow::Result<String> {
    let text = match &arguments.password_file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the password file {}", path.display()))?,
        None => line_without_echo().context("cannot read the password")?,
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => bail!("the password is empty"),
        password => Ok(password.to_owned()),
    }
}

fn line_without_echo() -> std::io::Result<String> {
    let mut line = String::new();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        stdin.read_line(&mut line)?;
        return Ok(line);
    }
    let quiet = Quiet::start(&stdin)?;
    say_beginning("password: ");
    let read = stdin.read_line(&mut line);
    drop(quiet);
    // The Enter was not shown either.
    say("");
    read.map(|_| line)
}

/// A terminal that does not show what is typed, as long as this lives.
struct Quiet<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn start(terminal: &'a Stdin) -> std::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
