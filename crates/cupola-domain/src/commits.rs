//! Commits: which source a package was made from, as labels and annotations say it.
//!
//! Whoever pushes says it: `cupola push` by itself, a pipeline with `cf` in the metadata of its
//! manifest. The platform hands it on, from package to droplet and from droplet to its copies and
//! to revisions, and takes nobody's word for more than that.

use serde::{Deserialize, Serialize};

use crate::{orgs::Metadata, time::Timestamp};

/// What the names of these labels and annotations begin with.
pub const PREFIX: &str = "cupola.dev/";
/// The id of the commit, in full.
pub const COMMIT: &str = "cupola.dev/commit";
/// The branch; none where no branch is checked out.
pub const BRANCH: &str = "cupola.dev/branch";
/// `true` if pushed files differ from the commit, `false` if none does.
pub const DIRTY: &str = "cupola.dev/dirty";
/// When it was committed: RFC 3339.
pub const COMMITTED_AT: &str = "cupola.dev/committed-at";
/// Where the source is: an address without a login.
pub const REPOSITORY: &str = "cupola.dev/repository";
/// `true` for a change that nobody had planned, because something had gone wrong.
pub const REWORK: &str = "cupola.dev/rework";

/// The source of a package or droplet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether pushed files differ from it; none where nobody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

impl Commit {
    /// What annotations say, or labels where there is no annotation. None: they name no commit.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let text = |key: &str| {
            let value = metadata.annotations.get(key).or_else(|| metadata.labels.get(key));
            value.map(|value| value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        Some(Self {
            id: text(COMMIT)?,
            branch: text(BRANCH),
            dirty: text(DIRTY).and_then(|value| value.parse().ok()),
            committed_at: text(COMMITTED_AT).and_then(|value| Timestamp::from_rfc3339(&value)),
            repository: text(REPOSITORY).map(|url| without_login(&url)),
        })
    }

    /// The annotations that say this.
    pub fn annotations(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            (COMMIT, Some(self.id.clone())),
            (BRANCH, self.branch.clone()),
            (DIRTY, self.dirty.map(|dirty| dirty.to_string())),
            (COMMITTED_AT, self.committed_at.map(Timestamp::rfc3339)),
            (REPOSITORY, self.repository.clone()),
        ];
        pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The part of some metadata that says where a package comes from: what is handed on.
pub fn of_source(metadata: &Metadata) -> Metadata {
    let of_prefix = |pairs: &std::collections::BTreeMap<String, String>| {
        let pairs = pairs.iter().filter(|(key, _)| key.starts_with(PREFIX));
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    Metadata { labels: of_prefix(&metadata.labels), annotations: of_prefix(&metadata.annotations) }
}

/// Whether somebody marked it as a change that repairs what a change had broken.
pub fn is_rework(metadata: &Metadata) -> bool {
    let said = metadata.annotations.get(REWORK).or_else(|| metadata.labels.get(REWORK));
    said.is_some_and(|said| said == "true")
}

/// An address without the name and password in it: `https://ada:secret@host/x` is `https://host/x`.
pub fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Metadata {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Metadata { labels: map(labels), annotations: map(annotations) }
    }

    #[test]
    fn commit_survives_its_annotations() {
        let commit = Commit {
            id: "0123abc".to_owned(),
            branch: Some("main".to_owned()),
            dirty: Some(true),
            committed_at: Timestamp::from_rfc3339("2028-02-29T12:00:00Z"),
            repository: Some("https://example.com/shop.git".to_owned()),
        };
        let mut metadata = Metadata::default();
        let pairs = commit.annotations().into_iter();
        metadata.annotations.extend(pairs.map(|(key, value)| (key.to_owned(), value)));

        assert_eq!(Commit::of(&metadata), Some(commit));
        assert_eq!(of_source(&metadata), metadata);
    }

    #[test]
    fn label_says_it_where_no_annotation_does_and_nonsense_is_unknown() {
        let labels = [(COMMIT, "fromlabel"), (BRANCH, "main"), ("team", "blue")];
        let annotations = [(COMMIT, "annotated"), (DIRTY, "maybe"), (COMMITTED_AT, "yesterday")];

        let commit = Commit::of(&metadata(&labels, &annotations)).unwrap();

        assert_eq!((commit.id.as_str(), commit.branch.as_deref()), ("annotated", Some("main")));
        assert_eq!((commit.dirty, commit.committed_at), (None, None));
        assert_eq!(Commit::of(&metadata(&[("team", "blue")], &[])), None);
        assert!(!of_source(&metadata(&labels, &[])).labels.contains_key("team"));
    }

    #[test]
    fn login_is_taken_out_of_an_address() {
        for (given, wanted) in [
            ("https://ada:pa@ss@example.com/x.git", "https://example.com/x.git"),
            ("https://token@example.com", "https://example.com"),
            ("https://example.com/a@b", "https://example.com/a@b"),
            ("git@example.com:shop.git", "git@example.com:shop.git"),
            ("ssh://git@example.com/shop", "ssh://example.com/shop"),
            ("/srv/git/shop", "/srv/git/shop"),
            ("https://me:secret@a.example/b#c", "https://a.example/b#c"),
            ("go_buildpack", "go_buildpack"),
        ] {
            assert_eq!(without_login(given), wanted);
        }
    }
}
