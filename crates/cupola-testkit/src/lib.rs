//! Test platform, builders and scripted fakes; a dev-dependency only.

pub mod openapi;
