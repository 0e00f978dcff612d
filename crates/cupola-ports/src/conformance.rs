//! What every adapter of a port must do, as tests that its crate calls.
//!
//! A suite panics with the sentence that does not hold, as an assertion does.

pub mod blobs;
pub mod logs;
pub mod store;
