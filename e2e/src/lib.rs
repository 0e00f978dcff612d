//! Scenarios driven through the real `cf` CLI and through `cupola`; everything is in `tests`.
