//! Scenarios driven through the real `cf` CLI and through `cupola` are in `tests`. Here is what
//! they share with `make soak`.

pub mod load;
