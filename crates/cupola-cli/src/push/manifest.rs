//! The manifest that a push applies: the one in the app's folder, if there is one, under the flags.

use anyhow::{Context, bail};
use serde_yaml_ng::{Mapping, Value};

use super::Arguments;

pub(super) fn of(arguments: &Arguments) -> anyhow::Result<String> {
    let mut app = from_folder(arguments)?;
    let mut set = |key: &str, value: Value| app.insert(Value::from(key), value);
    set("name", Value::from(arguments.name.as_str()));
    if let Some(command) = &arguments.command {
        set("command", Value::from(command.as_str()));
    }
    if !arguments.buildpack.is_empty() {
        let buildpacks = arguments.buildpack.iter().map(|name| Value::from(name.as_str()));
        set("buildpacks", Value::Sequence(buildpacks.collect()));
    }
    if let Some(instances) = arguments.instances {
        set("instances", Value::from(instances));
    }
    for (key, mib) in [("memory", arguments.memory), ("disk_quota", arguments.disk)] {
        if let Some(mib) = mib {
            set(key, Value::from(format!("{mib}M")));
        }
    }
    if arguments.no_route {
        set("no-route", Value::from(true));
    } else if !["routes", "no-route", "random-route"].iter().any(|key| app.contains_key(*key)) {
        app.insert(Value::from("default-route"), Value::from(true));
    }
    // Where the files are is this side's business.
    app.remove("path");
    let apps = Value::Sequence(vec![Value::Mapping(app)]);
    let manifest = Mapping::from_iter([(Value::from("applications"), apps)]);
    serde_yaml_ng::to_string(&manifest).context("the manifest cannot be written")
}

fn from_folder(arguments: &Arguments) -> anyhow::Result<Mapping> {
    let path = arguments.path.join("manifest.yml");
    if !path.is_file() {
        return Ok(Mapping::new());
    }
    let name = path.display();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    let mut manifest: Value =
        serde_yaml_ng::from_str(&text).with_context(|| format!("{name} is not valid YAML"))?;
    let apps = manifest.get_mut("applications").and_then(Value::as_sequence_mut);
    let apps = apps.with_context(|| format!("{name} has no list `applications`"))?;
    let named = |app: &Value| app.get("name").and_then(Value::as_str) == Some(&arguments.name);
    let at = match apps.iter().position(named) {
        Some(at) => at,
        None if apps.len() == 1 => 0,
        None => {
            bail!("{name} describes {} apps and none is named `{}`", apps.len(), arguments.name)
        }
    };
    match apps.swap_remove(at) {
        Value::Mapping(app) => Ok(app),
        _ => bail!("an app in {name} is not a map of its settings"),
    }
}
