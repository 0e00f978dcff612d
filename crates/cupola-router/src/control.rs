//! The socket over which control tells the router what to serve and hears what happens.

pub(crate) mod protocol;
pub(crate) mod server;
