//! The administrator: the password of the first start, and the socket that needs none.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, bail};
use cupola_control::{Control, identity::TokenKeys};
use tokio::net::UnixListener;

use crate::{config::Config, run_dir};

/// How the administrator's password came to be.
pub(super) enum Password {
    /// It is from an earlier start.
    Kept,
    /// It was made now, and is told this once.
    Printed(String),
    /// It was made now, and written to the file.
    Written,
    /// It was read from the file.
    Read,
}

/// Letters and digits that are hard to mistake for each other and mean nothing to a shell or a
/// command line; 32 of them, so that a random byte picks one without bias.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 24;

/// Makes what a first start makes; later starts make only what is missing.
pub(super) async fn bootstrap(control: &Control, config: &Config) -> anyhow::Result<Password> {
    let from_file = match &config.admin_password_file {
        Some(path) if path.exists() => Some(read(path)?),
        _ => None,
    };
    if control.has_admin().await? {
        // The password is of no use here, and whoever changed it meanwhile keeps it.
        control.bootstrap("").await?;
        return Ok(Password::Kept);
    }
    let (password, origin) = match (from_file, &config.admin_password_file) {
        (Some(password), _) => (password, Password::Read),
        (None, Some(path)) => {
            let password = generate()?;
            write(path, &password)?;
            (password, Password::Written)
        }
        (None, None) => {
            let password = generate()?;
            (password.clone(), Password::Printed(password))
        }
    };
    control.bootstrap(&password).await?;
    Ok(origin)
}

/// The key that tokens are signed with, made at first start.
pub(super) fn token_keys(data_dir: &Path) -> anyhow::Result<TokenKeys> {
    let path = data_dir.join("token-key.der");
    let name = || format!("cannot use the key of tokens, {}", path.display());
    let der = match fs::read(&path) {
        Ok(der) => der,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let der = TokenKeys::generate().context("the host has no random bytes")?;
            let unfinished = path.with_extension("new");
            let mut file = fs::File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)
                .with_context(name)?;
            file.write_all(&der).and_then(|()| file.sync_all()).with_context(name)?;
            fs::rename(&unfinished, &path).with_context(name)?;
            der
        }
        Err(error) => return Err(error).with_context(name),
    };
    TokenKeys::from_pkcs8(&der).with_context(name)
}

fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).context("the host has no random bytes")?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the password file {}", path.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.len() < 8 {
        bail!("the password in {} is shorter than 8 characters", path.display());
    }
    Ok(password.to_owned())
}

fn write(path: &Path, password: &str) -> anyhow::Result<()> {
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| writeln!(file, "{password}"))
        .with_context(|| format!("cannot write the password file {}", path.display()))
}

/// The socket over which the administrator of the machine needs no login.
pub(super) fn bind_socket(run_dir: &Path) -> anyhow::Result<UnixListener> {
    let path = run_dir::api_socket(run_dir);
    let name = || format!("cannot listen on {}", path.display());
    match fs::remove_file(&path) {
        // The lock of the data directory says that whoever made it is gone.
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(name),
    }
    let listener = UnixListener::bind(&path).with_context(name)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(name)?;
    Ok(listener)
}
