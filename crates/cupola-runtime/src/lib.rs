//! Linux containers: OCI bundles, the shim, the init, layers, cgroup readings, network.
//!
//! [`Runtime`] is what a host has; [`NativeCells`], [`NativeSandbox`] and [`NativeLayers`] are the
//! ports on it. A standard OCI runtime makes the containers. What is ours is around it: a shim per
//! container that outlives control, the init inside, layers, network, readings.

mod bundle;
mod cells;
mod cgroups;
mod config;
mod containers;
mod disks;
mod error;
mod freeze;
mod init;
mod layers;
mod network;
mod probe;
mod programs;
mod protocol;
mod records;
mod runtime;
mod sandbox;
mod shim;
mod shim_client;
mod stack;
mod sys;
mod teardown;

use std::{
    ffi::OsString,
    time::{SystemTime, UNIX_EPOCH},
};

use cupola_domain::time::Timestamp;

pub use crate::{
    bundle::{SELF_IN_CONTAINER, VCAP_UID},
    cells::NativeCells,
    config::{Cidr, NotACidr, RuntimeConfig},
    error::RuntimeError,
    init::init_main,
    layers::NativeLayers,
    probe::{Finding, Probe, ProbeResult, probe_host},
    programs::default_runtime,
    runtime::Runtime,
    sandbox::NativeSandbox,
    shim::shim_main,
    stack::HOST_STACK,
    teardown::{is_of_another, is_set_up, teardown},
};

/// Becomes the init or a shim if the arguments, without the program's name, say so. To be called
/// before anything else is set up: both must stay small, and have one thread.
pub fn enter_role(args: impl IntoIterator<Item = OsString>) {
    let mut args = args.into_iter();
    match args.next() {
        Some(role) if role == "init" => init_main(args.collect()),
        Some(role) if role == "shim" => shim_main(args.collect()),
        _ => {}
    }
}

/// The wall clock, for records. The shim has no clock port: it is a process of its own.
#[expect(clippy::disallowed_methods, reason = "records of a process without a clock port")]
fn time_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
