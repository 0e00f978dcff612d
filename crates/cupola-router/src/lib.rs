//! The data plane: a router process that outlives control, and control's side of it.
//!
//! `router_main` is the process: hyper at connection level, one single-threaded runtime per core,
//! its own pool of connections to instances. `RouterProcess` starts it, keeps its listening sockets
//! and starts it again if it dies. `RouterClient` is the `DataPlane` port: it hands the route table
//! over and brings reports and access lines back.
//!
//! Invariant: nothing a request needs passes through control. What is served is the last table that
//! was applied, from memory or from disk.

mod access_log;
mod accounts;
mod answer;
mod args;
mod balance;
mod client_io;
mod clock;
mod control;
mod cookies;
mod data_plane;
mod exchange;
mod framing;
mod gate;
mod headers;
mod host;
mod instance;
mod limits;
mod pick;
mod proxy;
mod refusal;
mod role;
mod saved;
mod supervisor;
mod table;
mod table_owner;
mod trusted;
mod tunnel;
mod upload;
mod upstream;
mod worker;

pub use args::{Listen, RouterArgs, RouterArgsError};
pub use data_plane::RouterClient;
pub use limits::Limits;
pub use role::{RouterError, router_main};
pub use supervisor::{RouterConfig, RouterProcess, RouterProcessError, RouterStatus};
pub use trusted::{AddressRange, NotAnAddressRange};
