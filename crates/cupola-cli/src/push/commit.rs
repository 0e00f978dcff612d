//! Which commit the pushed files are of, as the program `git` says.
//!
//! The program and not a reader of our own: worktrees, object formats, filters of line ends and
//! rules of ignored files are what it knows. It is asked only; what it cannot say, or not in time,
//! is unknown, and no push fails of it.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use super::ignore::Ignored;

/// All questions together.
const TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Commit {
    id: String,
    /// RFC 3339.
    committed_at: String,
    branch: Option<String>,
    /// Whether files that are pushed differ; none if git did not say in time.
    dirty: Option<bool>,
    /// Without a login.
    repository: Option<String>,
}

impl Commit {
    /// The commit that is checked out in this folder or one above it. None: there is none, or no
    /// git, or the app is pushed as a zip, of which nobody knows what it was made from.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        if !folder.is_dir() {
            return None;
        }
        let git = Git { folder, deadline: Instant::now() + TIME_MAX };
        let head =
            git.ask(&["log", "-1", "--no-show-signature", "--format=%H %cI", "HEAD", "--"])?;
        let (id, committed_at) = head.trim().split_once(' ')?;
        let repository = git.ask(&["config", "--get", "remote.origin.url"]);
        Some(Self {
            id: id.to_owned(),
            committed_at: committed_at.to_owned(),
            branch: git.ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]).map(first_line),
            dirty: is_dirty(&git),
            repository: repository.map(|url| without_login(&first_line(url))),
        })
    }

    /// The annotations that say it to the platform.
    pub(super) fn annotations(&self) -> Value {
        let pairs = [
            ("commit", Some(self.id.clone())),
            ("committed-at", Some(self.committed_at.clone())),
            ("branch", self.branch.clone()),
            ("dirty", self.dirty.map(|dirty| dirty.to_string())),
            ("repository", self.repository.clone()),
        ];
        let pairs = pairs
            .into_iter()
            .filter_map(|(key, value)| Some((format!("cupola.dev/{key}"), json!(value?))));
        Value::Object(pairs.collect::<Map<_, _>>())
    }

    /// In one line, for people.
    pub(super) fn words(&self) -> String {
        let dirty = if self.dirty == Some(true) { ", with files that differ from it" } else { "" };
        let id: String = self.id.chars().take(12).collect();
        format!("commit {id}{dirty}")
    }
}

/// Whether a file that is pushed is another than in the commit, is new, or is gone.
fn is_dirty(git: &Git<'_>) -> Option<bool> {
    let prefix = git.ask(&["rev-parse", "--show-prefix"])?;
    let prefix = prefix.trim_end_matches('\n');
    let ignored = Ignored::read(git.folder).ok()?;
    let flags = ["--porcelain", "--no-renames", "--untracked-files=all", "-z"];
    let status = git.ask(&[&["status"], &flags[..], &["--", "."]].concat())?;
    // Each entry is two letters, a space, and a path from the root of the tree.
    let paths = status.split('\0').filter_map(|entry| entry.get(3..)?.strip_prefix(prefix));
    let mut pushed = paths.filter(|path| !ignored.has_file(path));
    Some(pushed.next().is_some())
}

struct Git<'a> {
    folder: &'a Path,
    deadline: Instant,
}

impl Git<'_> {
    /// What it prints. None: it is not there, says that it cannot, or takes too long.
    fn ask(&self, question: &[&str]) -> Option<String> {
        let mut child = Command::new("git")
            .arg("-C")
            .arg(self.folder)
            // It writes nothing into the repository and runs none of its programs.
            .args(["--no-optional-locks", "-c", "core.fsmonitor=false"])
            .args(question)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut pipe = child.stdout.take()?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let read = pipe.read_to_string(&mut text).map(|_| text);
            // Nobody waits any more when the time is up.
            let _ = sender.send(read);
        });
        let left = self.deadline.saturating_duration_since(Instant::now());
        let text = receiver.recv_timeout(left).ok().and_then(Result::ok);
        if text.is_none() {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
        }
        let ended = child.wait().ok()?;
        text.filter(|_| ended.success())
    }
}

fn first_line(text: String) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// An address without the name and password in it: they are not even sent. The platform takes them
/// out of what others send, in code that this crate, which knows the wire alone, does not see.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A tree with the apps `shop` and `blog`, committed.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.git(&["init", "--quiet", "--initial-branch=main"]);
            for app in ["shop", "blog"] {
                fs::create_dir(tree.path(app)).unwrap();
                fs::write(tree.path(app).join("index.html"), app).unwrap();
            }
            tree.git(&["add", "."]);
            tree.git(&["commit", "--quiet", "--message=first"]);
            tree
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        fn git(&self, arguments: &[&str]) {
            let done = Command::new("git")
                .arg("-C")
                .arg(self.0.path())
                .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
                .args(arguments)
                .env("GIT_COMMITTER_DATE", "2028-02-29T12:00:00+01:00")
                .status()
                .unwrap();
            assert!(done.success(), "git {arguments:?}");
        }

        fn dirty(&self, app: &str) -> Option<bool> {
            Commit::of(&self.path(app)).unwrap().dirty
        }
    }

    #[test]
    fn subfolder_of_a_tree_is_of_its_commit_and_branch() {
        let tree = Tree::new();
        tree.git(&["remote", "add", "origin", "https://ada:hush@example.com/shop.git"]);

        let commit = Commit::of(&tree.path("shop")).unwrap();

        assert_eq!(commit.id.len(), 40);
        assert_eq!(commit.branch.as_deref(), Some("main"));
        assert_eq!(commit.committed_at, "2028-02-29T12:00:00+01:00");
        assert_eq!(commit.dirty, Some(false));
        assert_eq!(commit.repository.as_deref(), Some("https://example.com/shop.git"));
        let annotations = commit.annotations();
        assert_eq!(annotations["cupola.dev/commit"], commit.id);
        assert_eq!(annotations["cupola.dev/dirty"], "false");
    }

    #[test]
    fn only_files_that_are_pushed_make_it_dirty() {
        let tree = Tree::new();
        fs::write(tree.path("blog/index.html"), "changed").unwrap();
        fs::write(tree.path("shop/.cfignore"), "notes.txt\n").unwrap();
        fs::write(tree.path("shop/notes.txt"), "not sent").unwrap();

        assert_eq!(tree.dirty("shop"), Some(false));
        assert_eq!(tree.dirty("blog"), Some(true));
        fs::write(tree.path("shop/new file.html"), "sent").unwrap();
        assert_eq!(tree.dirty("shop"), Some(true));
    }

    #[test]
    fn file_that_is_gone_makes_it_dirty() {
        let tree = Tree::new();
        fs::remove_file(tree.path("shop/index.html")).unwrap();

        assert_eq!(tree.dirty("shop"), Some(true));
    }

    #[test]
    fn detached_head_has_no_branch_and_a_worktree_has_its_own() {
        let tree = Tree::new();
        let other = tempfile::tempdir().unwrap();
        let at = other.path().join("tree");
        tree.git(&["worktree", "add", "--quiet", "-b", "next", at.to_str().unwrap()]);
        tree.git(&["checkout", "--quiet", "--detach"]);

        assert_eq!(Commit::of(&tree.path("shop")).unwrap().branch, None);
        assert_eq!(Commit::of(&at.join("shop")).unwrap().branch.as_deref(), Some("next"));
    }

    #[test]
    fn folder_without_a_commit_and_a_zip_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let zip = folder.path().join("app.zip");
        fs::write(&zip, "").unwrap();

        assert_eq!(Commit::of(folder.path()), None);
        assert_eq!(Commit::of(&zip), None);
        let empty = tempfile::tempdir().unwrap();
        let init = ["-C", empty.path().to_str().unwrap(), "init", "--quiet"];
        assert!(Command::new("git").args(init).status().unwrap().success());
        assert_eq!(Commit::of(empty.path()), None);
    }
}
