//! What of a folder is not sent: the rules of the `cf` CLI, and those of `.cfignore`.
//!
//! They are those of the library that the CLI uses (go-gitignore), not those of git: a rule with a
//! slash inside fits at any depth, and a file may come back from an ignored folder.

use std::{fs, path::Path};

use anyhow::Context;

/// Never sent, whatever `.cfignore` says: `DefaultIgnoreLines` of the `cf` CLI.
const ALWAYS: [&str; 9] = [
    ".cfignore",
    ".DS_Store",
    ".git",
    ".gitignore",
    ".hg",
    ".svn",
    "_darcs",
    "manifest.yaml",
    "manifest.yml",
];

/// The rules in their order: the last one that fits decides.
pub(super) struct Ignored(Vec<Rule>);

struct Rule {
    /// It takes back what rules before it say.
    is_negated: bool,
    /// It fits from the root only.
    is_anchored: bool,
    /// It fits what is in a folder.
    wants_folder: bool,
    segments: Vec<String>,
}

impl Ignored {
    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(".cfignore");
        if !path.is_file() {
            return Ok(Self::parse(""));
        }
        let text = fs::read_to_string(&path);
        Ok(Self::parse(&text.with_context(|| format!("cannot read {}", path.display()))?))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().chain(ALWAYS).filter_map(Rule::parse).collect())
    }

    pub(super) fn has_file(&self, path: &str) -> bool {
        let fitting = self.0.iter().rfind(|rule| rule.fits(path));
        fitting.is_some_and(|rule| !rule.is_negated)
    }

    /// Whether nothing in this folder is sent, so that there is no need to look into it.
    pub(super) fn has_all_of(&self, folder: &str) -> bool {
        let inside = format!("{folder}/");
        let decisive = self.0.iter().rev().take_while(|rule| !rule.is_negated);
        decisive.into_iter().any(|rule| rule.fits(&inside))
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end_matches('\r').trim_matches(' ');
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (is_negated, line) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let line = line.strip_prefix('\\').unwrap_or(line);
        let from_root = line.strip_prefix('/').filter(|rest| !rest.starts_with("**/"));
        let is_kind_in_folder =
            line.find('/').is_some_and(|at| at > 0 && line[at..].contains("*."));
        let line = line.trim_start_matches('/');
        let folder = line.strip_suffix('/');
        Some(Self {
            is_negated,
            is_anchored: from_root.is_some() || is_kind_in_folder,
            wants_folder: folder.is_some(),
            segments: folder.unwrap_or(line).split('/').map(str::to_owned).collect(),
        })
    }

    fn fits(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').collect();
        let last = if self.is_anchored { 0 } else { path.len() };
        (0..=last).any(|at| self.fits_at(&self.segments, &path[at..]))
    }

    /// A rule that fits a folder fits everything below it, too.
    fn fits_at(&self, rule: &[String], path: &[&str]) -> bool {
        match (rule, path) {
            ([], rest) => !self.wants_folder || !rest.is_empty(),
            ([any, more @ ..], _) if any == "**" => {
                (0..=path.len()).any(|at| self.fits_at(more, &path[at..]))
            }
            (_, []) => false,
            ([segment, more @ ..], [name, below @ ..]) => {
                matches(segment, name) && self.fits_at(more, below)
            }
        }
    }
}

/// Whether a pattern with `*` fits the whole text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len())
                .filter(|at| tail.is_char_boundary(*at))
                .any(|at| matches(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the paths that are sent.
    fn sent<'a>(rules: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignored = Ignored::parse(rules);
        paths.iter().copied().filter(|path| !ignored.has_file(path)).collect()
    }

    #[test]
    fn without_rules_the_same_is_left_out_as_by_cf() {
        let paths = [
            ".cfignore",
            ".git/config",
            "a/.git/config",
            ".gitignore",
            ".github/workflow",
            "manifest.yml",
            "a/manifest.yaml",
            "_darcs/x",
            "node_modules/express/index.js",
        ];

        assert_eq!(sent("", &paths), [".github/workflow", "node_modules/express/index.js"]);
        assert_eq!(sent("!.git\n!manifest.yml", &paths), sent("", &paths));
    }

    #[test]
    fn rules_fit_names_at_any_depth_and_paths_from_the_root() {
        let paths =
            ["debug.log", "a/b/debug.log", "build", "build/x", "src/build", "a/docs/private/x"];
        assert_eq!(sent("*.log", &paths), ["build", "build/x", "src/build", "a/docs/private/x"]);
        assert_eq!(
            sent("/build", &paths),
            ["debug.log", "a/b/debug.log", "src/build", "a/docs/private/x"]
        );
        assert_eq!(sent("docs/private\n*.log\nbuild/", &paths), ["build", "src/build"]);
        assert_eq!(sent(" # no rule\n\r\n#x", &paths), paths);
    }

    #[test]
    fn stars_stay_within_a_name_unless_they_are_two() {
        let paths = ["a/x.o", "a/b/x.o", "a/b/c/x.o", "z/a/x.o"];
        assert_eq!(sent("a/*.o", &paths), ["a/b/x.o", "a/b/c/x.o", "z/a/x.o"]);
        assert_eq!(sent("a/**/x.o", &paths), Vec::<&str>::new());
        assert_eq!(sent("/a/**/c/x.o", &paths), ["a/x.o", "a/b/x.o", "z/a/x.o"]);
        assert_eq!(sent("a/b/**", &paths), ["a/x.o", "z/a/x.o"]);
        assert_eq!(sent("**/b", &paths), ["a/x.o", "z/a/x.o"]);
    }

    #[test]
    fn later_rules_bring_files_back_even_from_ignored_folders() {
        let paths = ["node_modules/a/index.js", "node_modules/mine/index.js", "keep.log", "b.log"];
        let rules = "node_modules\n!node_modules/mine\n*.log\n!keep.log";
        assert_eq!(sent(rules, &paths), ["node_modules/mine/index.js", "keep.log"]);
        assert_eq!(sent("!b.log\n*.log", &paths[2..]), Vec::<&str>::new());
        assert_eq!(sent("\\!b.log", &["!b.log", "b.log"]), ["b.log"]);

        let ignored = Ignored::parse(rules);
        assert!(!ignored.has_all_of("node_modules"));
        assert!(ignored.has_all_of(".git"));
        assert!(Ignored::parse("node_modules/").has_all_of("node_modules"));
    }
}
