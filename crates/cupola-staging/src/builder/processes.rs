//! Which processes an app has: from the buildpacks' `release` and `launch.yml`, and from the app's
//! own `Procfile`, which wins.

use std::{collections::BTreeMap, path::Path};

use cupola_domain::sidecars::{SIDECARS_MAX, SidecarOrigin, SidecarSpec};
use serde::Deserialize;

use super::{Failure, files};
use crate::orders::BuildStep;

const FILE_BYTES_MAX: u64 = 1 << 20;
const PROCESSES_MAX: usize = 100;
const COMMAND_BYTES_MAX: usize = 64 << 10;

pub(crate) type ProcessTypes = BTreeMap<String, String>;

/// What `bin/release` prints.
pub(super) fn from_release(text: &str) -> Result<ProcessTypes, String> {
    #[derive(Deserialize)]
    struct Release {
        #[serde(default)]
        default_process_types: Option<ProcessTypes>,
    }
    if text.trim().is_empty() {
        return Ok(ProcessTypes::new());
    }
    serde_yaml_ng::from_str::<Option<Release>>(text)
        .map(|release| {
            release.and_then(|release| release.default_process_types).unwrap_or_default()
        })
        .map_err(|e| format!("`bin/release` did not print YAML with `default_process_types`: {e}"))
}

/// What a buildpack, or all of them, want to be run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) types: ProcessTypes,
    pub(super) sidecars: Vec<SidecarSpec>,
}

/// What a buildpack left in `launch.yml` of its dependency folder. A process that is said to be a
/// sidecar for others is no process of its own.
pub(super) fn from_launch_file(dependency: &Path) -> Result<Launch, String> {
    let text = files::read_text(&dependency.join("launch.yml"), FILE_BYTES_MAX)
        .map_err(|e| format!("left a `launch.yml` that cannot be read: {e}"))?;
    let Some(text) = text else { return Ok(Launch::default()) };
    parse_launch(&text).map_err(|e| format!("left a `launch.yml` that is not valid: {e}"))
}

fn parse_launch(text: &str) -> Result<Launch, serde_yaml_ng::Error> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        processes: Option<Vec<Process>>,
    }
    #[derive(Deserialize)]
    struct Process {
        r#type: String,
        command: String,
        #[serde(default)]
        limits: Option<Limits>,
        #[serde(default)]
        platforms: Option<Platforms>,
    }
    /// In mebibytes.
    #[derive(Deserialize)]
    struct Limits {
        #[serde(default)]
        memory: Option<u32>,
    }
    #[derive(Deserialize)]
    struct Platforms {
        #[serde(default)]
        cloudfoundry: Option<CloudFoundry>,
    }
    #[derive(Deserialize)]
    struct CloudFoundry {
        #[serde(default)]
        sidecar_for: Option<Vec<String>>,
    }
    let file = serde_yaml_ng::from_str::<Option<File>>(text)?;
    let mut launch = Launch::default();
    for process in file.and_then(|file| file.processes).unwrap_or_default() {
        let sidecar_for = process.platforms.and_then(|all| all.cloudfoundry?.sidecar_for);
        let mut process_types = sidecar_for.unwrap_or_default();
        process_types.sort();
        process_types.dedup();
        if process_types.is_empty() {
            launch.types.insert(process.r#type, process.command);
            continue;
        }
        launch.sidecars.push(SidecarSpec {
            name: process.r#type,
            command: process.command,
            process_types,
            memory_mib: process.limits.and_then(|limits| limits.memory).filter(|mib| *mib > 0),
            origin: SidecarOrigin::Buildpack,
        });
    }
    Ok(launch)
}

pub(crate) fn from_procfile(app: &Path) -> Result<ProcessTypes, Failure> {
    let invalid = |why: String| {
        Failure::new(
            BuildStep::Processes,
            format!("the Procfile {why}; write one `type: command` on each line and push again"),
        )
    };
    let text = files::read_text(&app.join("Procfile"), FILE_BYTES_MAX)
        .map_err(|e| invalid(format!("cannot be read: {e}")))?;
    parse_procfile(&text.unwrap_or_default()).map_err(invalid)
}

/// A Procfile is YAML to Cloud Foundry and lines to everybody else. Commands with `: ` in them are
/// not YAML, quoted ones are not lines.
fn parse_procfile(text: &str) -> Result<ProcessTypes, String> {
    let text = text.trim_start_matches('\u{feff}');
    if let Ok(types) = serde_yaml_ng::from_str::<Option<ProcessTypes>>(text) {
        return Ok(types.unwrap_or_default());
    }
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once(':') {
            Some((name, command)) if is_type(name.trim()) => {
                Ok((name.trim().to_owned(), command.trim().to_owned()))
            }
            _ => Err(format!("has a line without a type: `{line}`")),
        })
        .collect()
}

/// Refuses what no droplet could hold, and drops types without a command. The trusted half asks the
/// same again: the builder runs beside programs of users, which can forge its result.
pub(crate) fn checked(types: ProcessTypes) -> Result<ProcessTypes, Failure> {
    let failed = |cause| Err(Failure::new(BuildStep::Processes, cause));
    let types: ProcessTypes = types
        .into_iter()
        .map(|(name, command)| (name, command.trim().to_owned()))
        .filter(|(_, command)| !command.is_empty())
        .collect();
    if types.len() > PROCESSES_MAX {
        return failed(format!("the app has more than {PROCESSES_MAX} process types"));
    }
    for (name, command) in &types {
        if !is_type(name) {
            return failed(format!(
                "the process type `{}` is not made of letters, digits, `-`, `_` and `.`",
                name.escape_debug()
            ));
        }
        if command.len() > COMMAND_BYTES_MAX || command.contains('\0') {
            return failed(format!("the command of the process type `{name}` is not usable"));
        }
    }
    Ok(types)
}

/// The same for sidecars, which are a buildpack's whatever they say. Of several with one name the last
/// counts.
pub(crate) fn checked_sidecars(sidecars: Vec<SidecarSpec>) -> Result<Vec<SidecarSpec>, Failure> {
    let failed = |cause| Err(Failure::new(BuildStep::Processes, cause));
    let of_buildpack = |one| SidecarSpec { origin: SidecarOrigin::Buildpack, ..one };
    let by_name: BTreeMap<String, SidecarSpec> =
        sidecars.into_iter().map(of_buildpack).map(|one| (one.name.clone(), one)).collect();
    let mut of_types: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in by_name.values().flat_map(|one| &one.process_types) {
        *of_types.entry(kind).or_default() += 1;
    }
    if let Some((kind, _)) = of_types.iter().find(|(_, count)| **count > SIDECARS_MAX) {
        return failed(format!(
            "the process `{}` has more than {SIDECARS_MAX} sidecars",
            kind.escape_debug()
        ));
    }
    for (name, sidecar) in &by_name {
        let command = sidecar.command.trim();
        if !is_type(name) || !sidecar.process_types.iter().all(|kind| is_type(kind)) {
            let name = name.escape_debug();
            return failed(format!(
                "the sidecar `{name}` or a process type of it is not made of letters, digits, \
                 `-`, `_` and `.`"
            ));
        }
        if command.is_empty() || command.len() > COMMAND_BYTES_MAX || command.contains('\0') {
            return failed(format!("the command of the sidecar `{name}` is not usable"));
        }
    }
    Ok(by_name.into_values().collect())
}

fn is_type(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=255).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(pairs: &[(&str, &str)]) -> ProcessTypes {
        pairs.iter().map(|(name, command)| ((*name).into(), (*command).into())).collect()
    }

    #[test]
    fn release_may_say_nothing() {
        assert_eq!(from_release("").unwrap(), types(&[]));
        assert_eq!(from_release("--- {}\n").unwrap(), types(&[]));
        assert_eq!(from_release("default_process_types:\n").unwrap(), types(&[]));
    }

    #[test]
    fn release_names_processes() {
        let text = "---\naddons: []\ndefault_process_types:\n  web: npm start\n";

        assert_eq!(from_release(text).unwrap(), types(&[("web", "npm start")]));
    }

    #[test]
    fn release_that_is_no_yaml_is_refused() {
        assert!(from_release("oops: [").is_err());
        assert!(from_release("just a sentence").is_err());
    }

    #[test]
    fn procfile_is_yaml_first() {
        let text = "# processes\nweb: \"node server.js\"\nworker: node worker.js # comment\n";

        let expected = types(&[("web", "node server.js"), ("worker", "node worker.js")]);
        assert_eq!(parse_procfile(text).unwrap(), expected);
    }

    #[test]
    fn procfile_with_a_colon_in_a_command_is_read_by_line() {
        let text = "web: sh -c 'echo a: b'\r\n\r\nworker: run\r\n";

        let expected = types(&[("web", "sh -c 'echo a: b'"), ("worker", "run")]);
        assert_eq!(parse_procfile(text).unwrap(), expected);
    }

    #[test]
    fn procfile_that_is_neither_is_refused() {
        assert_eq!(
            parse_procfile("start the app").unwrap_err(),
            "has a line without a type: `start the app`"
        );
    }

    #[test]
    fn odd_process_types_are_refused_and_empty_commands_dropped() {
        assert!(checked(types(&[("we b", "x")])).is_err());
        assert_eq!(
            checked(types(&[("web", " x "), ("none", "  ")])).unwrap(),
            types(&[("web", "x")])
        );
    }

    #[test]
    fn process_of_a_launch_file_may_be_a_sidecar_of_others() {
        let text = "processes:\n- type: web\n  command: ./serve\n- type: tail\n  command: ./tail\n  \
                    limits:\n    memory: 10\n  platforms:\n    cloudfoundry:\n      sidecar_for: [web, web]\n";

        let launch = parse_launch(text).unwrap();

        assert_eq!(launch.types, types(&[("web", "./serve")]));
        let [tail] = launch.sidecars.as_slice() else { panic!("{:?}", launch.sidecars) };
        assert_eq!((tail.name.as_str(), tail.memory_mib), ("tail", Some(10)));
        assert_eq!(tail.process_types, ["web"]);
        let empty = SidecarSpec { command: " ".to_owned(), ..tail.clone() };
        assert!(checked_sidecars(vec![tail.clone(), empty]).is_err());
        assert_eq!(checked_sidecars(vec![tail.clone(), tail.clone()]).unwrap().len(), 1);
    }

    #[test]
    fn each_process_may_have_as_many_sidecars_as_an_instance_holds() {
        let of = |kind: &str, number: usize| SidecarSpec {
            name: format!("{kind}-{number}"),
            command: "run".to_owned(),
            process_types: vec![kind.to_owned()],
            memory_mib: None,
            origin: SidecarOrigin::Buildpack,
        };
        let full = |kind| (0..SIDECARS_MAX).map(move |number| of(kind, number));
        let both: Vec<_> = full("web").chain(full("worker")).collect();
        let too_many = [both.clone(), vec![of("worker", SIDECARS_MAX)]].concat();

        assert_eq!(checked_sidecars(both).unwrap().len(), 2 * SIDECARS_MAX);
        let refused = checked_sidecars(too_many).unwrap_err().to_string();
        assert!(refused.contains("the process `worker` has more than 10 sidecars"), "{refused}");
    }
}
