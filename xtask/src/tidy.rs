//! Habits of the house that no other tool checks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::run::{output, root};

pub(crate) fn check() -> anyhow::Result<()> {
    let files = tracked()?;
    let mut findings = Vec::new();
    let mut sources = 0;
    for path in &files {
        if path.extension().is_some_and(|extension| extension == "rs") {
            sources += 1;
            let text = fs::read_to_string(root().join(path))?;
            findings.extend(of_source(path, &text));
        }
    }
    findings.extend(of_decisions(&files));
    if sources == 0 {
        bail!("no source file was found: this check is broken");
    }
    if !findings.is_empty() {
        bail!("untidy:\n  {}", findings.join("\n  "));
    }
    println!("tidy: {sources} source files");
    Ok(())
}

/// What git tracks or would track.
fn tracked() -> anyhow::Result<Vec<PathBuf>> {
    let listed = output("git", &["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = listed.context("git ls-files failed")?;
    Ok(listed.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect())
}

fn of_source(path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find = |line: usize, what: &str| {
        findings.push(format!("{}:{line}: {what}", path.display()));
    };
    if path.ends_with("mod.rs") {
        find(1, "modules are `name.rs` with `name/`, not `mod.rs`");
    }
    if !text.starts_with("//! ") {
        find(1, "a module opens with one sentence that says what it is for");
    }
    // The words are put together so that this file does not find itself.
    let to_do = concat!("TO", "DO");
    let ignored = concat!("#[", "ignore");
    for (number, line) in text.lines().enumerate() {
        if line.contains(to_do) && !line.contains('#') {
            find(number + 1, "a note for later names its issue, like #12");
        }
        if line.trim_start().starts_with(ignored) {
            find(
                number + 1,
                "no test is switched off; assert the wrong behaviour and link the issue",
            );
        }
    }
    findings
}

/// Decisions are numbered without gaps.
fn of_decisions(files: &[PathBuf]) -> Vec<String> {
    let in_adr = files.iter().filter(|path| path.parent() == Some(Path::new("docs/adr")));
    let mut numbers: Vec<u32> = in_adr
        .filter_map(|path| path.file_name()?.to_str()?.split('-').next()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let expected: Vec<u32> = (1..).take(numbers.len()).collect();
    if numbers == expected {
        return Vec::new();
    }
    vec![format!("docs/adr: numbers are {numbers:?}, expected {expected:?}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untidy_source_is_found() {
        let path = Path::new("crates/a/src/mod.rs");
        let text = format!(
            "fn a() {{}}\n// {}: later\n{}]\n",
            concat!("TO", "DO"),
            concat!("#[", "ignore")
        );

        assert_eq!(of_source(path, &text).len(), 4);
    }

    #[test]
    fn gap_between_decisions_is_found() {
        let files = ["docs/adr/0001-a.md", "docs/adr/0003-b.md"].map(PathBuf::from);

        assert_eq!(of_decisions(&files).len(), 1);
    }
}
