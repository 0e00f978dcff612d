//! Containers for real: needs root, an OCI runtime and nft.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adoption;
mod host;
mod instances;
mod isolation;
mod network;
mod peer;
mod sandboxes;
mod sidecars;
mod teardown;
