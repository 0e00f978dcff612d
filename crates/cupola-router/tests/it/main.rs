//! The router process and control's side of it, over real sockets on loopback.

mod ambiguity;
mod control;
mod errors;
mod headers;
mod lifecycle;
mod limits;
mod proxying;
mod retries;
mod sticky;
mod support;
mod tunnels;
