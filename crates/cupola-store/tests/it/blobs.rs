//! The suite of `BlobStore` on a local directory, and what is left there.

use std::{path::PathBuf, sync::Arc};

use cupola_ports::blobs::BlobStore;
use cupola_store::LocalBlobs;
use tempfile::TempDir;

cupola_ports::blobs_conformance!(open);

async fn open() -> (Arc<dyn BlobStore>, PathBuf, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let blobs = LocalBlobs::open(&dir.path().join("blobs")).unwrap();
    (Arc::new(blobs), scratch, dir)
}

#[tokio::test]
async fn what_was_left_unfinished_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join(".unfinished/7");
    std::fs::create_dir(dir.path().join(".unfinished")).unwrap();
    std::fs::write(&left, "half").unwrap();

    LocalBlobs::open(dir.path()).unwrap();

    assert!(!left.exists());
}

#[tokio::test]
async fn a_failed_put_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(dir.path()).unwrap();

    let error = blobs.put("a/b", &dir.path().join("missing")).await.unwrap_err();

    assert_eq!(error.to_string(), "cannot store blob a/b");
    assert_eq!(dir.path().join(".unfinished").read_dir().unwrap().count(), 0);
    assert_eq!(blobs.present(&[("a/b".to_owned(), 0)]).await.unwrap(), [false]);
}
