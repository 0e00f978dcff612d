//! Test platform, builders and scripted fakes; a dev-dependency only.

pub mod fakes;
pub mod http;
pub mod openapi;
pub mod platform;

pub use platform::TestPlatform;
