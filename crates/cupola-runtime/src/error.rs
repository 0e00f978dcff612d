//! Why the runtime could not do something.

use std::{io, path::PathBuf};

use cupola_domain::droplets::LayerDigest;
use cupola_ports::{cells::CellError, sandbox::SandboxError};

use crate::config::Cidr;

/// What the container runtime reports to the binary that set it up.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("`{name}` cannot name an installation: use one to six lower-case letters and digits")]
    BadInstallation { name: String },
    #[error("the instance subnet {subnet} is too small: use a prefix of at most 26")]
    SubnetTooSmall { subnet: Cidr },
    #[error(
        "the instance subnet {subnet} overlaps {other}: choose another one with --instance-subnet"
    )]
    SubnetOccupied { subnet: Cidr, other: String },
    #[error("no address is left in the instance subnet {subnet}")]
    SubnetExhausted { subnet: Cidr },
    #[error("the program `{}` is missing: {hint}", program.display())]
    ProgramMissing { program: PathBuf, hint: String },
    #[error("`{program}` failed: {detail}")]
    ProgramFailed { program: String, detail: String },
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {what}: {detail}")]
    Format { what: String, detail: String },
    #[error("the container did not start: {detail}")]
    NotStarted { detail: String },
    #[error("the network of a container could not be made: {action}")]
    Network {
        action: &'static str,
        #[source]
        source: Box<rtnetlink::Error>,
    },
    #[error("there is no stack `{name}`: this installation has `{known}`")]
    StackMissing { name: String, known: String },
    #[error("the layer {digest} is not there")]
    LayerMissing { digest: LayerDigest },
    #[error("the tree is larger than its limit of {limit_mib} MiB")]
    TreeTooLarge { limit_mib: u64 },
}

/// Adds what was being done to an error of the operating system.
pub(crate) trait Doing<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, RuntimeError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, RuntimeError> {
        self.map_err(|error| RuntimeError::Io { action: action(), source: error.into() })
    }
}

impl From<RuntimeError> for SandboxError {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::LayerMissing { digest } => Self::LayerMissing { digest },
            RuntimeError::TreeTooLarge { limit_mib } => {
                Self::DiskFull { limit_mib: u32::try_from(limit_mib).unwrap_or(u32::MAX) }
            }
            other => {
                Self::Host { action: "set up its container".to_owned(), source: Box::new(other) }
            }
        }
    }
}

impl From<RuntimeError> for CellError {
    fn from(error: RuntimeError) -> Self {
        Self { action: "set up containers".to_owned(), source: Box::new(error) }
    }
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
