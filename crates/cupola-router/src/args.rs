//! The arguments of the router role, written by whoever starts it and read by the role itself.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use crate::{limits::Limits, trusted::AddressRange};

/// The user of the router when it is started as root: `nobody` on every Linux distribution.
const NOBODY: u32 = 65_534;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterArgs {
    pub listen: Listen,
    /// Where the last route table is kept. Made if it is missing.
    pub state_dir: PathBuf,
    /// Where control connects.
    pub control_socket: PathBuf,
    /// User and group to become when started as root.
    pub uid: u32,
    /// Serving threads; one per core unless told otherwise.
    pub workers: Option<usize>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are passed on; at least one.
    pub trusted_proxies: Vec<AddressRange>,
    pub limits: Limits,
}

/// Where the listening sockets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Handed over as ancillary data on standard input, which is a Unix socket then.
    Stdin,
    /// Inherited under these numbers, as systemd does it from 3 on.
    Inherited(Vec<i32>),
    /// Bound by the router itself.
    Bind(Vec<SocketAddr>),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouterArgsError {
    #[error("unknown argument {0:?} of the router")]
    Unknown(OsString),
    #[error("{0} of the router has no value")]
    NoValue(&'static str),
    #[error("{name} of the router cannot be {value:?}: {why}")]
    Invalid { name: &'static str, value: String, why: String },
    #[error("the router needs {0}")]
    Missing(&'static str),
}

const LISTEN_STDIN: &str = "--listen-stdin";
const LISTEN_FDS: &str = "--listen-fds";
const LISTEN: &str = "--listen";
const STATE_DIR: &str = "--state-dir";
const CONTROL_SOCKET: &str = "--control-socket";
const UID: &str = "--uid";
const WORKERS: &str = "--workers";
const TRUSTED_PROXIES: &str = "--trusted-proxies";
const LIMITS: &str = "--limits";

impl RouterArgs {
    pub fn new(listen: Listen, state_dir: PathBuf, control_socket: PathBuf) -> Self {
        Self {
            listen,
            state_dir,
            control_socket,
            uid: NOBODY,
            workers: None,
            trusted_proxies: AddressRange::loopback(),
            limits: Limits::default(),
        }
    }

    /// Reads what `to_args` writes. The name of the program and of the role are not part of it.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, RouterArgsError> {
        let mut args = args.into_iter();
        let (mut listen, mut state_dir, mut control_socket) = (None, None, None);
        let (mut uid, mut workers, mut limits) = (NOBODY, None, Limits::default());
        let mut trusted_proxies = AddressRange::loopback();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some(LISTEN_STDIN) => listen = Some(Listen::Stdin),
                Some(LISTEN_FDS) => {
                    listen = Some(Listen::Inherited(list(LISTEN_FDS, &mut args)?));
                }
                Some(LISTEN) => listen = Some(Listen::Bind(list(LISTEN, &mut args)?)),
                Some(STATE_DIR) => state_dir = Some(path(STATE_DIR, &mut args)?),
                Some(CONTROL_SOCKET) => control_socket = Some(path(CONTROL_SOCKET, &mut args)?),
                Some(UID) => uid = value(UID, &mut args)?,
                Some(WORKERS) => workers = Some(value(WORKERS, &mut args)?),
                Some(TRUSTED_PROXIES) => trusted_proxies = list(TRUSTED_PROXIES, &mut args)?,
                Some(LIMITS) => {
                    let text = text(LIMITS, &mut args)?;
                    limits = serde_json::from_str(&text)
                        .map_err(|error| invalid(LIMITS, &text, &error))?;
                }
                _ => return Err(RouterArgsError::Unknown(arg)),
            }
        }
        Ok(Self {
            listen: listen.ok_or(RouterArgsError::Missing(LISTEN))?,
            state_dir: state_dir.ok_or(RouterArgsError::Missing(STATE_DIR))?,
            control_socket: control_socket.ok_or(RouterArgsError::Missing(CONTROL_SOCKET))?,
            uid,
            workers,
            trusted_proxies,
            limits,
        })
    }

    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = match &self.listen {
            Listen::Stdin => vec![LISTEN_STDIN.into()],
            Listen::Inherited(fds) => vec![LISTEN_FDS.into(), joined(fds).into()],
            Listen::Bind(addresses) => vec![LISTEN.into(), joined(addresses).into()],
        };
        args.extend([STATE_DIR.into(), self.state_dir.clone().into()]);
        args.extend([CONTROL_SOCKET.into(), self.control_socket.clone().into()]);
        args.extend([UID.into(), self.uid.to_string().into()]);
        if let Some(workers) = self.workers {
            args.extend([WORKERS.into(), workers.to_string().into()]);
        }
        args.extend([TRUSTED_PROXIES.into(), joined(&self.trusted_proxies).into()]);
        if self.limits != Limits::default() {
            let limits = serde_json::to_string(&self.limits).expect("limits are plain numbers");
            args.extend([LIMITS.into(), limits.into()]);
        }
        args
    }
}

fn joined(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn path(
    name: &'static str,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<PathBuf, RouterArgsError> {
    args.next().map(PathBuf::from).ok_or(RouterArgsError::NoValue(name))
}

fn text(
    name: &'static str,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<String, RouterArgsError> {
    let value = args.next().ok_or(RouterArgsError::NoValue(name))?;
    value.into_string().map_err(|value| {
        let value = value.to_string_lossy().into_owned();
        RouterArgsError::Invalid { name, value, why: "it is not UTF-8".to_owned() }
    })
}

fn value<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<T, RouterArgsError> {
    let text = text(name, args)?;
    text.parse().map_err(|error| invalid(name, &text, &error))
}

fn list<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    args: &mut impl Iterator<Item = OsString>,
) -> Result<Vec<T>, RouterArgsError> {
    let text = text(name, args)?;
    text.split(',').map(|item| item.parse().map_err(|error| invalid(name, item, &error))).collect()
}

fn invalid(name: &'static str, value: &str, error: &impl std::fmt::Display) -> RouterArgsError {
    RouterArgsError::Invalid { name, value: value.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_the_command_line() {
        let listens = [
            Listen::Stdin,
            Listen::Inherited(vec![3, 4]),
            Listen::Bind(vec!["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()]),
        ];
        for listen in listens {
            let mut args = RouterArgs::new(listen, "/state".into(), "/run/router.sock".into());
            args.workers = Some(3);
            args.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap(), "::1".parse().unwrap()];
            args.limits.drain_ms = 7;

            assert_eq!(RouterArgs::parse(args.to_args()), Ok(args));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let parse = |args: &[&str]| RouterArgs::parse(args.iter().map(OsString::from)).unwrap_err();

        assert_eq!(parse(&["--listen-stdin"]), RouterArgsError::Missing("--state-dir"));
        assert_eq!(parse(&["--uid"]), RouterArgsError::NoValue("--uid"));
        assert_eq!(
            parse(&["--listen", "here"]).to_string(),
            "--listen of the router cannot be \"here\": invalid socket address syntax"
        );
    }
}
