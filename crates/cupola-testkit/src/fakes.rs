//! Stand-ins for what needs root, time or another process. Each does the ordinary thing at once, and
//! something else where a test has said so.

mod cells;
mod clock;
mod data_plane;
mod logs;
mod staging;

pub use cells::FakeCells;
pub use clock::ManualClock;
pub use data_plane::FakeDataPlane;
pub use logs::FakeLogs;
pub use staging::{FakeLayers, FakeStager};
