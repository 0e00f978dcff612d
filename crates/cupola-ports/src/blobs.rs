//! Where files are kept that are too large for the database: source files by their SHA-1 for
//! resource matching, uploads, buildpacks.

use std::path::Path;

use async_trait::async_trait;

#[derive(Debug, thiserror::Error)]
#[error("cannot {action} blob {key}")]
pub struct BlobError {
    pub action: &'static str,
    pub key: String,
    #[source]
    pub source: std::io::Error,
}

/// Files by key. A key is one or more path segments of letters, digits, `-`, `_` and `.`; none of
/// them begins with a dot.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Stores the content of `file` under `key`; whole or not at all. An older content stays.
    async fn put(&self, key: &str, file: &Path) -> Result<(), BlobError>;

    /// Writes the content of `key` to `file`, which must not exist, and says whether there was any.
    /// The file must not be written to: it may share its content with the store.
    async fn fetch(&self, key: &str, file: &Path) -> Result<bool, BlobError>;

    /// Which of `keys` are there with that many bytes, in the same order.
    async fn present(&self, keys: &[(String, u64)]) -> Result<Vec<bool>, BlobError>;

    async fn delete(&self, key: &str) -> Result<(), BlobError>;

    /// Deletes blobs below `folder`, the leading segments of their keys, until they take no more than
    /// `bytes_max`, and says how many bytes were freed. Those go first whose last `put`, `fetch` or
    /// `present` is longest ago.
    async fn trim(&self, folder: &str, bytes_max: u64) -> Result<u64, BlobError>;
}
