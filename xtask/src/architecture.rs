//! Who may depend on whom: rank falls along every dependency.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::run::output;

/// Rank of each crate. Equal rank forbids an edge.
const RANKS: &[(&str, u8)] = &[
    ("cupola-domain", 0),
    ("cupola-wire", 0),
    ("cupola-ports", 1),
    ("cupola-control", 2),
    ("cupola-store", 2),
    ("cupola-staging", 2),
    ("cupola-runtime", 2),
    ("cupola-router", 2),
    ("cupola-signals", 2),
    ("cupola-api", 3),
    ("cupola-cli", 3),
    ("cupola", 4),
];

/// Crates that only `cupola` may name, and tests.
const ADAPTERS: &[&str] =
    &["cupola-store", "cupola-staging", "cupola-runtime", "cupola-router", "cupola-signals"];

/// Outside crates, and who alone may depend on them.
const RESERVED: &[(&str, &[&str])] = &[
    ("sqlx", &["cupola-store", "cupola-signals"]),
    ("sea-query", &["cupola-store"]),
    ("axum", &["cupola-api"]),
    ("libc", &["cupola-runtime"]),
    ("anyhow", &["cupola", "cupola-cli", "cupola-testkit", "xtask", "e2e"]),
];

/// Not shipped, so that they may depend on anything.
const FREE: &[&str] = &["cupola-testkit", "e2e", "xtask"];

pub(crate) fn check() -> anyhow::Result<()> {
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let metadata = output("cargo", &arguments).context("cargo metadata failed")?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let edges: Vec<Edge> = packages.iter().flat_map(edges).collect();
    if edges.is_empty() {
        bail!("no dependency was found: this check is broken");
    }
    let broken: Vec<String> = edges.iter().filter_map(Edge::objection).collect();
    if !broken.is_empty() {
        bail!("the architecture is broken:\n  {}", broken.join("\n  "));
    }
    println!("architecture: {} dependencies keep their direction", edges.len());
    Ok(())
}

struct Edge {
    from: String,
    to: String,
    is_dev: bool,
}

fn edges(package: &Value) -> Vec<Edge> {
    let from = package["name"].as_str().unwrap_or_default();
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let edge = |dependency: &Value| Edge {
        from: from.to_owned(),
        to: dependency["name"].as_str().unwrap_or_default().to_owned(),
        is_dev: dependency["kind"] == "dev",
    };
    dependencies.map(edge).collect()
}

impl Edge {
    /// Why this dependency must not be; none where it may.
    fn objection(&self) -> Option<String> {
        let Self { from, to, is_dev } = self;
        let refuse = |why: &str| Some(format!("{from} must not depend on {to}: {why}"));
        if FREE.contains(&from.as_str()) || *is_dev {
            return None;
        }
        if let Some((_, allowed)) = RESERVED.iter().find(|(name, _)| name == to)
            && !allowed.contains(&from.as_str())
        {
            return refuse(&format!("only {} may", allowed.join(", ")));
        }
        if FREE.contains(&to.as_str()) {
            return refuse("it is for tests only");
        }
        if !to.starts_with("cupola") {
            return None;
        }
        let (Some(above), Some(below)) = (rank(from), rank(to)) else {
            return refuse("one of them has no rank in xtask/src/architecture.rs");
        };
        if below >= above {
            return refuse("rank falls along every dependency");
        }
        if ADAPTERS.contains(&to.as_str()) && from != "cupola" {
            return refuse("only the binary names adapters");
        }
        None
    }
}

fn rank(name: &str) -> Option<u8> {
    RANKS.iter().find(|(crate_, _)| *crate_ == name).map(|(_, rank)| *rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), is_dev: false }
    }

    #[test]
    fn forbidden_dependencies_are_named() {
        assert!(edge("cupola-domain", "cupola-ports").objection().is_some());
        assert!(edge("cupola-store", "cupola-runtime").objection().is_some());
        assert!(edge("cupola-api", "cupola-store").objection().is_some());
        assert!(edge("cupola-control", "sqlx").objection().is_some());
        assert!(edge("cupola-api", "cupola-testkit").objection().is_some());
    }

    #[test]
    fn allowed_dependencies_pass() {
        assert!(edge("cupola-api", "cupola-control").objection().is_none());
        assert!(edge("cupola", "cupola-store").objection().is_none());
        assert!(edge("cupola-store", "sqlx").objection().is_none());
    }
}
