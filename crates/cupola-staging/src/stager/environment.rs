//! What a build is told: its order, and its variables.

use std::collections::BTreeMap;

use cupola_domain::launch;
use cupola_ports::stager::StagingRequest;

use crate::orders::{BuildOrder, BuildPaths, BuildpackSource, inside};

/// The host's way to its registries, then what the app asks for, then what always holds.
pub(super) fn build_environment(
    host: &BTreeMap<String, String>,
    request: &StagingRequest,
) -> Vec<(String, String)> {
    let mut variables = host.clone();
    let app = request.environment.iter().filter(|(name, value)| is_usable(name, value));
    variables.extend(app.map(|(name, value)| (name.clone(), value.clone())));
    let platform = [
        ("CF_STACK", request.stack.clone()),
        ("MEMORY_LIMIT", format!("{}m", request.memory_mib)),
        ("LANG", launch::LANG.to_owned()),
        // Not the app's folder, as it is when the app runs: what tools leave in their home while
        // building would end in the droplet.
        ("HOME", inside::HOME.to_owned()),
        ("TMPDIR", inside::TMP.to_owned()),
        ("USER", "vcap".to_owned()),
        ("PATH", launch::PATH.to_owned()),
    ];
    variables.extend(platform.map(|(name, value)| (name.to_owned(), value)));
    variables.into_iter().collect()
}

fn is_usable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

pub(super) fn build_order(
    request: &StagingRequest,
    buildpacks: Vec<BuildpackSource>,
) -> BuildOrder {
    BuildOrder {
        buildpacks,
        detect: request.buildpacks.is_empty(),
        paths: BuildPaths {
            app: inside::APP.into(),
            deps: inside::DEPS.into(),
            cache: inside::CACHE.into(),
            profile: inside::PROFILE.into(),
            logs: inside::LOGS.into(),
            tmp: inside::TMP.into(),
            staging_info: inside::STAGING_INFO.into(),
            work: inside::WORK.into(),
            result: inside::RESULT.into(),
        },
        user_environment: request.environment.clone(),
    }
}
