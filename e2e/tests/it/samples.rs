//! Every sample, pushed as a user would.
