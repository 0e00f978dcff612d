//! Containers for real: needs root, an OCI runtime and nft.

mod adoption;
mod host;
mod instances;
mod isolation;
mod network;
mod sandboxes;
mod teardown;
