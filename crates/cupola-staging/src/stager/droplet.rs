//! What becomes of the result of a build that ended well.

use std::collections::HashSet;

use cupola_domain::{
    droplets::{LayerDigest, Runtime, UsedBuildpack},
    sidecars::SidecarSpec,
};
use cupola_ports::{
    sandbox::{Freeze, SandboxOutcome},
    stager::{StagingFailure, StagingRequest},
};

use super::verdict;
use crate::{
    builder::processes::{self, ProcessTypes},
    orders::inside,
};

pub(super) const APP_LAYER: &str = "app";
pub(super) const DEPS_LAYER: &str = "deps";

/// What of a container's home becomes which layer of a droplet.
pub(super) fn droplet_freezes() -> Vec<Freeze> {
    let freeze = |name: &str, paths: &[&str]| Freeze {
        name: name.to_owned(),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    let app = [inside::APP, inside::PROFILE, inside::LOGS, inside::STAGING_INFO];
    vec![freeze(DEPS_LAYER, &[inside::DEPS]), freeze(APP_LAYER, &app)]
}

/// A text of somebody else, as it may be shown; none if nothing is left of it.
pub(super) fn plain(text: Option<String>) -> Option<String> {
    let text: String = text?.chars().filter(|c| !c.is_control()).take(255).collect();
    Some(text).filter(|text| !text.is_empty())
}

/// A runtime whose version a build may be told by a variable. What a buildpack writes is not trusted:
/// a variable that is for something else cannot be named.
pub(super) fn plain_runtime(runtime: Runtime) -> Option<Runtime> {
    let is_plain = |text: &str, allowed: fn(char) -> bool| {
        !text.is_empty() && text.len() < 100 && text.chars().all(allowed)
    };
    let in_name = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let in_variable = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_plain = is_plain(&runtime.name, in_name)
        && is_plain(&runtime.version, in_name)
        && is_plain(&runtime.pin, in_variable)
        && runtime.pin.ends_with("VERSION");
    is_plain.then_some(runtime)
}

/// Lowest first. What many buildpacks leave in the dependencies is nothing.
pub(super) fn droplet_layers(outcome: SandboxOutcome, has_deps: bool) -> Vec<LayerDigest> {
    let mut frozen = outcome.frozen;
    let mut take = |name: &str| {
        let position = frozen.iter().position(|layer| layer.name == name)?;
        Some(frozen.swap_remove(position).digest)
    };
    let deps = take(DEPS_LAYER).filter(|_| has_deps);
    deps.into_iter().chain(take(APP_LAYER)).collect()
}

/// The builder has checked the same, but it ran beside users' programs.
pub(super) fn checked_types(types: ProcessTypes) -> Result<ProcessTypes, StagingFailure> {
    processes::checked(types).map_err(|failure| {
        verdict::platform(&format!("the result of the build cannot be used: {failure}"))
    })
}

pub(super) fn checked_sidecars(
    sidecars: Vec<SidecarSpec>,
) -> Result<Vec<SidecarSpec>, StagingFailure> {
    processes::checked_sidecars(sidecars).map_err(|failure| {
        verdict::platform(&format!("the result of the build cannot be used: {failure}"))
    })
}

/// Only those that were asked for, and each once.
pub(super) fn checked_buildpacks(
    used: Vec<UsedBuildpack>,
    request: &StagingRequest,
) -> Vec<UsedBuildpack> {
    let is_known =
        |name: &String| request.buildpacks.contains(name) || request.detect_order.contains(name);
    let mut seen = HashSet::new();
    used.into_iter()
        .filter(|buildpack| is_known(&buildpack.name) && seen.insert(buildpack.name.clone()))
        .map(|buildpack| UsedBuildpack {
            name: buildpack.name,
            detect_output: plain(buildpack.detect_output),
            buildpack_name: plain(buildpack.buildpack_name),
            version: plain(buildpack.version),
            runtime: buildpack.runtime.and_then(plain_runtime),
        })
        .collect()
}
