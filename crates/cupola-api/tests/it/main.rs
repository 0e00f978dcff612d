//! The API through its router, on a platform whose cells and stager are fakes.

mod accounts;
mod authorization;
mod buildpacks;
mod empty;
mod feature_flags;
mod lists;
mod organizations;
mod push;
mod roles;
mod root;
mod spaces;
mod tokens;
mod users;
