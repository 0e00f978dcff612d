//! Converts the vendored contract to JSON once per build, so that no test has to parse YAML.

use std::{env, fs, path::Path};

const CONTRACT: &str = "data/cf-v3.openapi.yaml";

fn main() {
    println!("cargo::rerun-if-changed={CONTRACT}");

    let yaml = fs::read_to_string(CONTRACT).expect("the contract is in the repository");
    let contract: serde_json::Value =
        serde_yaml_ng::from_str(&yaml).expect("the contract is well-formed YAML");
    let out = env::var_os("OUT_DIR").expect("cargo names the directory for what is built");
    fs::write(Path::new(&out).join("cf-v3.openapi.json"), contract.to_string())
        .expect("what is built can be written");
}
