//! `cupola login URL`.

use std::{io::Read, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use crate::{client::Client, credentials::Login, output::say};

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
    /// Read the password from this file; without it, from standard input
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
        ca_file: arguments.ca_file,
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

fn password(arguments: &Arguments) -> anyhow::Result<String> {
    let text = match &arguments.password_file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the password file {}", path.display()))?,
        None => {
            say("password, then Enter and Ctrl-D (it is shown; use --password-file to hide it):");
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the password")?;
            text
        }
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => bail!("the password is empty"),
        password => Ok(password.to_owned()),
    }
}
