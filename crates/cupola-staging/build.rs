//! Embeds the folder `buildpacks/` of the repository into the binary.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script everything by variables"
)]

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let crate_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let root = crate_dir.join("../../buildpacks").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());

    let mut files = Vec::new();
    for folder in sorted(&root)? {
        // Only folders that are buildpacks: tests and notes may lie beside them.
        if folder.join("bin/detect").is_file() {
            collect(&folder, &mut files)?;
        }
    }
    let mut code = String::from("&[\n");
    for file in files {
        let path = file.strip_prefix(&root)?;
        let is_program = fs::metadata(&file)?.permissions().mode() & 0o111 != 0;
        writeln!(
            code,
            "    EmbeddedFile {{ path: {path:?}, is_program: {is_program}, content: include_bytes!({file:?}) }},"
        )?;
    }
    code.push_str("]\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("embedded_buildpacks.rs"), code)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for path in sorted(folder)? {
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            println!("cargo::rerun-if-changed={}", path.display());
            files.push(path);
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    paths.sort();
    Ok(paths)
}
