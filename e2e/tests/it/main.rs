//! The whole platform as its users meet it: real `cf`, real containers, real package registries.
//!
//! `cargo xtask e2e` builds both command lines and says where they are.

mod cli;
mod http;
mod platform;
mod push_binary;
mod samples;
