//! The whole platform as its users meet it: real `cf`, real containers, real package registries.
//!
//! `cargo xtask e2e` builds both command lines and says where they are.

mod apps;
mod bad_apps;
mod bad_input;
mod bad_staging;
mod cf_deploy;
mod cf_droplets;
mod cf_history;
mod cf_login;
mod cf_manifest;
mod cf_operate;
mod cf_orgs_and_roles;
mod cf_push_options;
mod cf_release_phase;
mod cf_routes;
mod cf_services;
mod cf_sources;
mod cf_story;
mod cf_tasks;
mod cf_team_routes;
mod cli;
mod configuration;
mod cupola_cli;
mod faults;
mod hosts;
mod http;
mod ladders;
mod languages;
mod leftovers;
mod load;
mod platform;
mod push_binary;
mod recipes;
mod refusals;
mod rollback;
mod running;
mod samples;
mod staticfile;
mod streams;
mod under_load;
