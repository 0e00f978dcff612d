//! The order in which buildpacks run: detect, supply, finalize or compile, release.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use cupola_domain::{commits::without_login, droplets::UsedBuildpack};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    Failure, files,
    processes::{self, ProcessTypes},
    script, sources,
};
use crate::orders::{BuildOrder, BuildOutcome, BuildStep, BuildpackSource};

const DETECT_BYTES_MAX: u64 = 4 << 10;
const RELEASE_BYTES_MAX: u64 = 1 << 20;
const CONFIG_BYTES_MAX: u64 = 1 << 20;

pub(super) struct Lifecycle<'a> {
    order: &'a BuildOrder,
    out: &'a mut dyn Write,
}

/// A buildpack that takes part.
struct Chosen<'a> {
    name: &'a str,
    folder: PathBuf,
    /// The name of its folder below the dependencies.
    index: String,
    cache: PathBuf,
    detect_output: Option<String>,
}

impl Chosen<'_> {
    fn script(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join("bin").join(name)).filter(|path| path.is_file())
    }
}

impl<'a> Lifecycle<'a> {
    pub(super) fn new(order: &'a BuildOrder, out: &'a mut dyn Write) -> Self {
        Self { order, out }
    }

    pub(super) fn run(mut self) -> Result<BuildOutcome, Failure> {
        // Told before anything is installed; read again at the end, for a buildpack may write one.
        processes::from_procfile(&self.order.paths.app)?;
        let chosen = if self.order.detect { self.detect()? } else { self.choose_all()? };
        self.make_folders(&chosen)?;
        let Some((last, suppliers)) = chosen.split_last() else {
            return Err(Failure::new(BuildStep::Prepare, "no buildpack was asked for"));
        };
        for supplier in suppliers {
            self.supply_before_others(supplier)?;
        }
        self.finish(last)?;
        let processes::Launch { types: process_types, sidecars } =
            self.process_types(&chosen, last)?;
        let buildpacks = chosen.iter().map(|buildpack| self.used(buildpack)).collect();
        self.write_staging_info(last, &process_types)?;
        let has_deps = self.has_deps(&chosen);
        Ok(BuildOutcome::Staged { process_types, sidecars, buildpacks, has_deps })
    }

    fn detect(&mut self) -> Result<Vec<Chosen<'a>>, Failure> {
        for (position, source) in self.order.buildpacks.iter().enumerate() {
            let folder = self.fetch(source, position)?;
            let program = folder.join("bin/detect");
            if !program.is_file() {
                continue;
            }
            let captured =
                script::capture(&program, &[self.app()], &self.order.paths.app, DETECT_BYTES_MAX)
                    .map_err(|e| Failure::of(BuildStep::Detect, source.name(), e))?;
            if captured.failure.is_none() {
                let said = captured.output.lines().next().unwrap_or_default().trim().to_owned();
                self.say(&format!(
                    "-----> Detected {}",
                    if said.is_empty() { source.name() } else { &said }
                ));
                let detect_output = Some(said).filter(|said| !said.is_empty());
                return Ok(vec![self.chosen(source, folder, "0".to_owned(), detect_output)]);
            }
        }
        let names: Vec<_> = self.order.buildpacks.iter().map(BuildpackSource::name).collect();
        Err(Failure::new(BuildStep::Detect, format!("none of {} matches", names.join(", "))))
    }

    fn choose_all(&mut self) -> Result<Vec<Chosen<'a>>, Failure> {
        let sources = &self.order.buildpacks;
        let width = sources.len().saturating_sub(1).to_string().len();
        let mut chosen = Vec::with_capacity(sources.len());
        for (position, source) in sources.iter().enumerate() {
            let folder = self.fetch(source, position)?;
            chosen.push(self.chosen(source, folder, format!("{position:0width$}"), None));
        }
        Ok(chosen)
    }

    fn fetch(&mut self, source: &BuildpackSource, position: usize) -> Result<PathBuf, Failure> {
        if let BuildpackSource::Git { url, .. } = source {
            self.say(&format!("-----> Cloning buildpack {}", without_login(url)));
        }
        sources::fetch(source, &self.order.paths.work.join(format!("buildpack-{position}")))
    }

    fn chosen(
        &self,
        source: &'a BuildpackSource,
        folder: PathBuf,
        index: String,
        detect_output: Option<String>,
    ) -> Chosen<'a> {
        let cache = self.order.paths.cache.join(cache_name(source));
        Chosen { name: source.name(), folder, index, cache, detect_output }
    }

    /// Each buildpack has its folder in dependencies and cache; caches of others are dropped.
    fn make_folders(&mut self, chosen: &[Chosen<'_>]) -> Result<(), Failure> {
        let failed = |e: std::io::Error| {
            Failure::new(BuildStep::Prepare, format!("cannot make the buildpacks' folders: {e}"))
        };
        for entry in fs::read_dir(&self.order.paths.cache).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if chosen.iter().all(|buildpack| buildpack.cache != path) {
                files::remove_tree(&path).map_err(failed)?;
            }
        }
        for buildpack in chosen {
            fs::create_dir_all(&buildpack.cache).map_err(failed)?;
            fs::create_dir_all(self.order.paths.deps.join(&buildpack.index)).map_err(failed)?;
        }
        Ok(())
    }

    fn supply_before_others(&mut self, buildpack: &Chosen<'_>) -> Result<(), Failure> {
        match buildpack.script("supply") {
            Some(program) => self.supply(buildpack, &program),
            None => Err(Failure::of(
                BuildStep::Supply,
                buildpack.name,
                "has no `bin/supply`, so it can only be the last of several buildpacks; name it last",
            )),
        }
    }

    fn supply(&mut self, buildpack: &Chosen<'_>, program: &Path) -> Result<(), Failure> {
        let arguments = [
            self.app(),
            buildpack.cache.as_os_str(),
            self.order.paths.deps.as_os_str(),
            OsStr::new(&buildpack.index),
        ];
        self.run_script(BuildStep::Supply, buildpack, program, &arguments)
    }

    /// The last buildpack supplies and finalizes, or compiles if it is of the older kind.
    fn finish(&mut self, buildpack: &Chosen<'_>) -> Result<(), Failure> {
        let Some(finalize) = buildpack.script("finalize") else {
            return self.compile(buildpack);
        };
        if let Some(supply) = buildpack.script("supply") {
            self.supply(buildpack, &supply)?;
        }
        let paths = &self.order.paths;
        let arguments = [
            self.app(),
            buildpack.cache.as_os_str(),
            paths.deps.as_os_str(),
            OsStr::new(&buildpack.index),
            paths.profile.as_os_str(),
        ];
        self.run_script(BuildStep::Finalize, buildpack, &finalize, &arguments)
    }

    fn compile(&mut self, buildpack: &Chosen<'_>) -> Result<(), Failure> {
        let Some(compile) = buildpack.script("compile") else {
            return Err(Failure::of(
                BuildStep::Compile,
                buildpack.name,
                "has neither `bin/finalize` nor `bin/compile`, so it cannot be the last or only buildpack; add one that can",
            ));
        };
        let environment = self.write_environment()?;
        let arguments = [self.app(), buildpack.cache.as_os_str(), environment.as_os_str()];
        self.run_script(BuildStep::Compile, buildpack, &compile, &arguments)
    }

    /// One file per variable, as Heroku's buildpacks read them.
    fn write_environment(&self) -> Result<PathBuf, Failure> {
        let folder = self.order.paths.work.join("environment");
        let failed = |e: std::io::Error| {
            Failure::new(BuildStep::Compile, format!("cannot write the environment folder: {e}"))
        };
        fs::create_dir_all(&folder).map_err(failed)?;
        for (name, value) in &self.order.user_environment {
            let is_file_name =
                !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.');
            if is_file_name {
                fs::write(folder.join(name), value).map_err(failed)?;
            }
        }
        Ok(folder)
    }

    fn process_types(
        &mut self,
        chosen: &[Chosen<'_>],
        last: &Chosen<'_>,
    ) -> Result<processes::Launch, Failure> {
        let mut types = self.release(last)?;
        let mut sidecars = Vec::new();
        for buildpack in chosen {
            let launch = processes::from_launch_file(&self.dependency(buildpack))
                .map_err(|e| Failure::of(BuildStep::Processes, buildpack.name, e))?;
            types.extend(launch.types);
            sidecars.extend(launch.sidecars);
        }
        types.extend(processes::from_procfile(&self.order.paths.app)?);
        let sidecars = processes::checked_sidecars(sidecars)?;
        Ok(processes::Launch { types: processes::checked(types)?, sidecars })
    }

    fn release(&mut self, buildpack: &Chosen<'_>) -> Result<ProcessTypes, Failure> {
        let Some(program) = buildpack.script("release") else {
            return Ok(ProcessTypes::new());
        };
        let failed = |cause| Failure::of(BuildStep::Release, buildpack.name, cause);
        let captured =
            script::capture(&program, &[self.app()], &self.order.paths.app, RELEASE_BYTES_MAX)
                .map_err(failed)?;
        match captured.failure {
            Some(failure) => Err(failed(failure)),
            None => processes::from_release(&captured.output).map_err(failed),
        }
    }

    fn used(&self, buildpack: &Chosen<'_>) -> UsedBuildpack {
        #[derive(Default, Deserialize)]
        struct Config {
            name: Option<String>,
            version: Option<serde_yaml_ng::Value>,
            runtime: Option<serde_yaml_ng::Value>,
        }
        // What a buildpack says about itself is a courtesy: nothing fails for want of it.
        let text =
            files::read_text(&self.dependency(buildpack).join("config.yml"), CONFIG_BYTES_MAX);
        let config: Config = text
            .ok()
            .flatten()
            .and_then(|text| serde_yaml_ng::from_str::<Option<Config>>(&text).ok().flatten())
            .unwrap_or_default();
        let version_file = files::read_text(&buildpack.folder.join("VERSION"), 256).ok().flatten();
        UsedBuildpack {
            name: buildpack.name.to_owned(),
            detect_output: buildpack.detect_output.clone(),
            buildpack_name: config.name,
            runtime: config.runtime.and_then(|value| serde_yaml_ng::from_value(value).ok()),
            version: config
                .version
                .and_then(scalar)
                .or_else(|| version_file.map(|text| text.trim().to_owned())),
        }
    }

    /// The file that Cloud Foundry's droplets carry beside the app.
    fn write_staging_info(&self, last: &Chosen<'_>, types: &ProcessTypes) -> Result<(), Failure> {
        let info = serde_json::json!({
            "detected_buildpack": last.detect_output.as_deref().unwrap_or(last.name),
            "start_command": types.get("web").map_or("", String::as_str),
        });
        fs::write(&self.order.paths.staging_info, info.to_string()).map_err(|e| {
            Failure::new(BuildStep::Processes, format!("cannot write staging_info.yml: {e}"))
        })
    }

    /// Whether any buildpack left something that a running app can use.
    fn has_deps(&self, chosen: &[Chosen<'_>]) -> bool {
        let is_of_use = |name: &OsStr| name != "config.yml" && name != "launch.yml";
        chosen.iter().any(|buildpack| {
            fs::read_dir(self.dependency(buildpack))
                .is_ok_and(|entries| entries.flatten().any(|entry| is_of_use(&entry.file_name())))
        })
    }

    fn run_script(
        &mut self,
        step: BuildStep,
        buildpack: &Chosen<'_>,
        program: &Path,
        arguments: &[&OsStr],
    ) -> Result<(), Failure> {
        script::run(program, arguments, &self.order.paths.app)
            .map_err(|cause| Failure::of(step, buildpack.name, cause))
    }

    fn dependency(&self, buildpack: &Chosen<'_>) -> PathBuf {
        self.order.paths.deps.join(&buildpack.index)
    }

    fn app(&self) -> &'a OsStr {
        self.order.paths.app.as_os_str()
    }

    /// A line of the builder's own. Whoever reads it may be gone; the build goes on.
    fn say(&mut self, line: &str) {
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}

fn scalar(value: serde_yaml_ng::Value) -> Option<String> {
    match value {
        serde_yaml_ng::Value::String(text) => Some(text),
        serde_yaml_ng::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// URLs make no folder names, so it is a hash. A folder is known by more than one name.
fn cache_name(source: &BuildpackSource) -> OsString {
    let key = match source {
        BuildpackSource::Folder { path, .. } => path.file_name().unwrap_or_default(),
        BuildpackSource::Git { name, .. } => OsStr::new(name),
    };
    let digest = Sha256::digest(key.as_encoded_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}
