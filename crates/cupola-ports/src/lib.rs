//! Traits to the outside, and one conformance suite per trait.
//!
//! Invariant: nothing here says how. Each trait has an adapter crate, and `conformance` holds the
//! tests that every adapter of a trait must pass.

pub mod blobs;
pub mod cells;
pub mod clock;
pub mod conformance;
pub mod data_plane;
pub mod logs;
pub mod nouns;
pub mod sandbox;
pub mod stager;
pub mod store;
