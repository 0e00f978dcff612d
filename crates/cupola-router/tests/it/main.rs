//! The router process and control's side of it, over real sockets on loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test as tests do")]

mod ambiguity;
mod balancing;
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
