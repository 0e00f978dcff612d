//! The tree that an upload describes, as names only, and the rules that it must keep.
//!
//! Invariant: no path in it leaves its root, also when every link in it is followed.

use std::collections::{BTreeMap, VecDeque};

use super::UnpackError;

const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 255;
pub(super) const LINK_BYTES_MAX: u64 = 1024;
/// Well below what can be kept as a layer.
const DEPTH_MAX: usize = 100;
const LINKS_MAX: usize = 20_000;
/// What Linux allows.
const LINK_HOPS_MAX: usize = 40;

/// Where the content of a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The entry of the zip with this index.
    Zipped(usize),
    /// The known file of the order with this index.
    Known(usize),
    /// The entry of a droplet's archive with this index.
    Archived(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder {
        mode: u32,
    },
    File {
        content: Content,
        mode: u32,
    },
    Link {
        target: String,
    },
    /// Another name of a file, in the archive of a droplet.
    HardLink {
        first: String,
    },
}

/// Nodes by path. A folder always comes before what is in it.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
    entries_max: usize,
    /// Whether modes are kept as they are: a droplet has the digest that they make.
    keeps_modes: bool,
    files: usize,
    links: usize,
}

impl Tree {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { nodes: BTreeMap::new(), entries_max, keeps_modes: false, files: 0, links: 0 }
    }

    /// Of a droplet: what buildpacks wrote, with links to wherever they like, and of any number.
    pub(super) fn of_droplet(entries_max: usize) -> Self {
        Self { keeps_modes: true, ..Self::new(entries_max) }
    }

    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    pub(super) fn file_count(&self) -> usize {
        self.files
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    pub(super) fn add_folder(&mut self, path: &str, mode: u32) -> Result<(), UnpackError> {
        let path = clean(path)?;
        if path.is_empty() {
            return Ok(());
        }
        self.add_parents(&path)?;
        let mode = if self.keeps_modes { mode & 0o777 } else { folder_mode(mode) };
        match self.nodes.get_mut(&path) {
            Some(Node::Folder { mode: known }) => *known = mode,
            Some(_) => return Err(twice(&path)),
            None => self.insert(path, Node::Folder { mode })?,
        }
        Ok(())
    }

    pub(super) fn add_file(
        &mut self,
        path: &str,
        content: Content,
        mode: u32,
    ) -> Result<(), UnpackError> {
        let mode = if self.keeps_modes { mode & 0o777 } else { file_mode(mode) };
        self.add_leaf(path, Node::File { content, mode })?;
        self.files += 1;
        Ok(())
    }

    pub(super) fn add_link(&mut self, path: &str, target: &str) -> Result<(), UnpackError> {
        if target.is_empty() || target.starts_with('/') || target.contains('\0') {
            return Err(leaves(path));
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(invalid(format!("it has more than {LINKS_MAX} symbolic links")));
        }
        self.add_leaf(path, Node::Link { target: target.to_owned() })
    }

    /// As [`Self::add_link`], for a link that may lead out: nothing is written through it, and an
    /// instance has nothing there that its app may not see.
    pub(super) fn add_any_link(&mut self, path: &str, target: &str) -> Result<(), UnpackError> {
        if target.is_empty() || target.contains('\0') || target.len() > PATH_BYTES_MAX {
            return Err(invalid(format!("the symbolic link `{}` is not usable", shown(path))));
        }
        self.add_leaf(path, Node::Link { target: target.to_owned() })
    }

    /// Another name of a file that was added before.
    pub(super) fn add_hard_link(&mut self, path: &str, first: &str) -> Result<(), UnpackError> {
        let first = clean(first)?;
        if !matches!(self.nodes.get(&first), Some(Node::File { .. })) {
            return Err(invalid(format!(
                "the hard link `{}` is of no file that came before it",
                shown(path)
            )));
        }
        self.add_leaf(path, Node::HardLink { first })
    }

    /// Follows every link through the tree as the kernel would. A link may lead nowhere, but not out.
    pub(super) fn check_links(&self) -> Result<(), UnpackError> {
        for (path, node) in &self.nodes {
            if let Node::Link { target } = node {
                self.follow(path, target)?;
            }
        }
        Ok(())
    }

    fn follow(&self, link: &str, target: &str) -> Result<(), UnpackError> {
        let parent = link.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut reached: Vec<&str> = parent.split('/').filter(|name| !name.is_empty()).collect();
        let mut ahead: VecDeque<&str> = target.split('/').collect();
        let mut hops = 1;
        while let Some(name) = ahead.pop_front() {
            match name {
                "" | "." => {}
                ".." => {
                    reached.pop().ok_or_else(|| leaves(link))?;
                }
                name => reached.push(name),
            }
            if let Some(Node::Link { target }) = self.nodes.get(&reached.join("/")) {
                hops += 1;
                if hops > LINK_HOPS_MAX {
                    return Err(invalid(format!("the symbolic link `{link}` never ends")));
                }
                reached.pop();
                for name in target.split('/').rev() {
                    ahead.push_front(name);
                }
            }
        }
        Ok(())
    }

    fn add_leaf(&mut self, path: &str, node: Node) -> Result<(), UnpackError> {
        let path = clean(path)?;
        if path.is_empty() {
            return Err(invalid("a file in it has no name".to_owned()));
        }
        self.add_parents(&path)?;
        if self.nodes.contains_key(&path) {
            return Err(twice(&path));
        }
        self.insert(path, node)
    }

    fn add_parents(&mut self, path: &str) -> Result<(), UnpackError> {
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match self.nodes.get(parent) {
                Some(Node::Folder { .. }) => {}
                Some(_) => return Err(twice(parent)),
                None => self.insert(parent.to_owned(), Node::Folder { mode: folder_mode(0) })?,
            }
        }
        Ok(())
    }

    fn insert(&mut self, path: String, node: Node) -> Result<(), UnpackError> {
        if self.nodes.len() >= self.entries_max {
            let entries_max = self.entries_max;
            return Err(invalid(format!(
                "it has more than {entries_max} files and folders; list what the app does not need in .cfignore"
            )));
        }
        self.nodes.insert(path, node);
        Ok(())
    }
}

/// The path without empty parts and `.`; refused if it could name something outside the root.
pub(super) fn clean(path: &str) -> Result<String, UnpackError> {
    if path.starts_with('/') {
        return Err(leaves(path));
    }
    if path.len() > PATH_BYTES_MAX || path.contains('\0') {
        return Err(invalid(format!("the path `{}` is not usable", shown(path))));
    }
    let mut clean = String::with_capacity(path.len());
    let mut depth = 0;
    for name in path.split('/') {
        match name {
            "" | "." => continue,
            ".." => return Err(leaves(path)),
            name if name.len() > NAME_BYTES_MAX => {
                return Err(invalid(format!("the file name `{}` is too long", shown(name))));
            }
            _ if depth == DEPTH_MAX => {
                return Err(invalid(format!("it has folders deeper than {DEPTH_MAX} levels")));
            }
            name => {
                if depth > 0 {
                    clean.push('/');
                }
                clean.push_str(name);
                depth += 1;
            }
        }
    }
    Ok(clean)
}

/// Only permission bits count, and the owner can always read and write.
fn file_mode(mode: u32) -> u32 {
    if mode & 0o777 == 0 { 0o644 } else { mode & 0o777 | 0o600 }
}

fn folder_mode(mode: u32) -> u32 {
    if mode & 0o777 == 0 { 0o755 } else { mode & 0o777 | 0o700 }
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

pub(super) fn invalid(reason: String) -> UnpackError {
    UnpackError::Invalid(reason)
}

fn leaves(path: &str) -> UnpackError {
    invalid(format!("`{}` leads out of the app's folder", shown(path)))
}

fn twice(path: &str) -> UnpackError {
    invalid(format!("it names `{}` twice", shown(path)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree() -> Tree {
        Tree::new(1000)
    }

    fn reason(outcome: Result<(), UnpackError>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        assert!(reason(tree().add_file("/etc/passwd", Content::Known(0), 0)).contains("leads out"));
        assert!(reason(tree().add_file("a/../../b", Content::Known(0), 0)).contains("leads out"));
        assert!(reason(tree().add_folder("..", 0)).contains("leads out"));
        assert!(reason(tree().add_link("a", "/etc/passwd")).contains("leads out"));
    }

    #[test]
    fn a_path_cannot_be_file_and_folder() {
        let mut tree = tree();

        tree.add_file("a/b", Content::Known(0), 0).unwrap();

        assert_eq!(reason(tree.add_file("a", Content::Known(1), 0)), "it names `a` twice");
        assert_eq!(reason(tree.add_file("a/b/c", Content::Known(1), 0)), "it names `a/b` twice");
        assert_eq!(reason(tree.add_file("./a//b", Content::Known(1), 0)), "it names `a/b` twice");
    }

    #[test]
    fn nothing_can_lie_behind_a_link() {
        let mut tree = tree();

        tree.add_link("l", "elsewhere").unwrap();

        assert_eq!(reason(tree.add_file("l/x", Content::Known(0), 0)), "it names `l` twice");
    }

    #[test]
    fn a_link_may_stay_inside_by_way_of_its_parent() {
        let mut tree = tree();

        tree.add_link("bin/run", "../lib/./run").unwrap();
        tree.add_link("dangling", "nowhere").unwrap();

        tree.check_links().unwrap();
    }

    #[test]
    fn a_link_that_leaves_only_through_another_link_is_refused() {
        let mut tree = tree();

        tree.add_link("p/q/r/top", "../../..").unwrap();
        tree.add_link("out", "p/q/r/top/../secret").unwrap();

        assert_eq!(reason(tree.check_links()), "`out` leads out of the app's folder");
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        let mut tree = tree();

        tree.add_link("a", "b").unwrap();
        tree.add_link("b", "a").unwrap();

        assert_eq!(reason(tree.check_links()), "the symbolic link `a` never ends");
    }

    #[test]
    fn implied_folders_count_as_entries() {
        let mut tree = Tree::new(3);

        tree.add_file("a/b/c", Content::Known(0), 0).unwrap();

        assert!(reason(tree.add_file("d", Content::Known(1), 0)).contains("more than 3 files"));
    }

    #[test]
    fn special_bits_are_dropped_and_the_owner_keeps_access() {
        assert_eq!(file_mode(0o104_755), 0o755);
        assert_eq!(file_mode(0), 0o644);
        assert_eq!(file_mode(0o444), 0o644);
        assert_eq!(folder_mode(0o40_555), 0o755);
    }

    proptest! {
        #[test]
        fn a_clean_path_has_only_ordinary_names(path in "[a./\\\\ ]{0,12}|\\PC{0,20}") {
            if let Ok(clean) = clean(&path) {
                prop_assert!(!clean.starts_with('/') && !clean.ends_with('/'));
                let mut names = clean.split('/').filter(|_| !clean.is_empty());
                prop_assert!(names.all(|name| !matches!(name, "" | "." | "..")));
            }
        }

        // Real links in a real folder, resolved by the kernel, are the judge of the planned ones.
        #[test]
        fn links_that_pass_stay_inside_when_the_kernel_follows_them(
            links in proptest::collection::vec(("[abc](/[abc]){0,2}", "(\\.\\./|[abc]/){0,4}[abc.]"), 1..6)
        ) {
            let root = tempfile::tempdir().unwrap();
            let root = root.path().canonicalize().unwrap();
            let mut tree = tree();
            for (path, target) in &links {
                let _ = tree.add_link(path, target);
            }

            let passed = tree.check_links().is_ok();

            for (path, node) in tree.nodes().filter(|_| passed) {
                match node {
                    Node::Link { target } => std::os::unix::fs::symlink(target, root.join(path)).unwrap(),
                    _ => std::fs::create_dir(root.join(path)).unwrap(),
                }
            }
            for (path, _) in tree.nodes().filter(|_| passed) {
                if let Ok(real) = root.join(path).canonicalize() {
                    prop_assert!(real.starts_with(&root), "{path} leads to {}", real.display());
                }
            }
        }
    }
}
