//! Uploads and builds through the stager, with roles that run as children of the test in temporary
//! folders instead of containers.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may what it is built from")]

mod droplets;
mod fake;
mod ingest;
mod launch;
mod platform;
mod stage;
mod zips;
