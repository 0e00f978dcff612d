//! What every `BlobStore` must do.
//!
//! Each function takes a store that is empty and its own, and an empty directory for files.

use std::{fs, path::Path, sync::Arc};

use crate::blobs::BlobStore;

/// Makes one test per demand of the suite. `$open` is an async function that returns a new, empty
/// store as `Arc<dyn BlobStore>`, an empty directory, and whatever must live as long.
#[macro_export]
macro_rules! blobs_conformance {
    ($open:path) => {
        $crate::blobs_conformance! { @tests $open;
            a_blob_comes_back_as_it_was_put
            the_first_content_of_a_key_stays
            a_blob_does_not_change_with_the_file_it_came_from
            presence_takes_key_and_size
            a_missing_blob_is_no_error
            an_existing_file_is_not_overwritten
            a_key_cannot_leave_the_store
            writers_of_one_key_agree
            blobs_that_were_not_used_for_longest_are_trimmed
        }
    };
    (@tests $open:path; $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let (store, scratch, _guard) = $open().await;
            $crate::conformance::blobs::$name(store, &scratch).await;
        }
    )*};
}

async fn put(store: &Arc<dyn BlobStore>, scratch: &Path, key: &str, content: &str) {
    let file = scratch.join("to-put");
    fs::write(&file, content).expect("the scratch directory can be written");
    store.put(key, &file).await.expect("a blob is put");
    fs::remove_file(file).expect("the file is still there");
}

async fn fetch(store: &Arc<dyn BlobStore>, scratch: &Path, key: &str) -> Option<String> {
    let file = scratch.join("fetched");
    let found = store.fetch(key, &file).await.expect("a blob is looked for");
    let content = fs::read_to_string(&file).ok();
    assert_eq!(content.is_some(), found, "a file is written if there was a blob");
    if found {
        fs::remove_file(file).expect("a fetched file can be removed");
    }
    content
}

pub async fn a_blob_comes_back_as_it_was_put(store: Arc<dyn BlobStore>, scratch: &Path) {
    put(&store, scratch, "ab/cd/0123-4_5.zip", "content").await;
    put(&store, scratch, "plain", "").await;

    assert_eq!(fetch(&store, scratch, "ab/cd/0123-4_5.zip").await.as_deref(), Some("content"));
    assert_eq!(fetch(&store, scratch, "ab/cd/0123-4_5.zip").await.as_deref(), Some("content"));
    assert_eq!(fetch(&store, scratch, "plain").await.as_deref(), Some(""));
}

pub async fn the_first_content_of_a_key_stays(store: Arc<dyn BlobStore>, scratch: &Path) {
    put(&store, scratch, "key", "first").await;
    put(&store, scratch, "key", "second").await;

    assert_eq!(fetch(&store, scratch, "key").await.as_deref(), Some("first"));
}

pub async fn a_blob_does_not_change_with_the_file_it_came_from(
    store: Arc<dyn BlobStore>,
    scratch: &Path,
) {
    let file = scratch.join("source");
    fs::write(&file, "before").expect("the scratch directory can be written");
    store.put("key", &file).await.expect("a blob is put");

    fs::write(&file, "after!").expect("the file is the caller's own");

    assert_eq!(fetch(&store, scratch, "key").await.as_deref(), Some("before"));
}

pub async fn presence_takes_key_and_size(store: Arc<dyn BlobStore>, scratch: &Path) {
    put(&store, scratch, "a/b", "12345").await;
    let wanted = [("a/b", 5), ("a/b", 4), ("a", 5), ("a/b/c", 5), ("none", 0), ("../a/b", 5)];

    let keys = wanted.map(|(key, size)| (key.to_owned(), size));
    let present = store.present(&keys).await.expect("blobs are looked for");

    assert_eq!(present, [true, false, false, false, false, false]);
}

pub async fn a_missing_blob_is_no_error(store: Arc<dyn BlobStore>, scratch: &Path) {
    put(&store, scratch, "a/b", "content").await;

    store.delete("a/b").await.expect("a blob is deleted");
    store.delete("a/b").await.expect("a blob that is not there is deleted");

    assert_eq!(fetch(&store, scratch, "a/b").await, None);
    assert_eq!(fetch(&store, scratch, "a").await, None);
}

pub async fn an_existing_file_is_not_overwritten(store: Arc<dyn BlobStore>, scratch: &Path) {
    put(&store, scratch, "key", "blob").await;
    let file = scratch.join("mine");
    fs::write(&file, "mine").expect("the scratch directory can be written");

    let refused = store.fetch("key", &file).await;

    assert!(refused.is_err(), "a fetch onto a file is refused");
    assert_eq!(fs::read_to_string(&file).expect("the file is there"), "mine");
}

pub async fn a_key_cannot_leave_the_store(store: Arc<dyn BlobStore>, scratch: &Path) {
    let file = scratch.join("file");
    fs::write(&file, "content").expect("the scratch directory can be written");

    for key in
        ["", "/", "/etc/passwd", "../up", "a/../b", "a//b", ".hidden", "a/", "a b", "ä", "a\0"]
    {
        let put = store.put(key, &file).await;
        let fetched = store.fetch(key, &scratch.join("fetched")).await;
        let deleted = store.delete(key).await;

        assert!(put.is_err() && fetched.is_err() && deleted.is_err(), "{key:?} is no key");
    }
}

pub async fn writers_of_one_key_agree(store: Arc<dyn BlobStore>, scratch: &Path) {
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let file = scratch.join(format!("source-{number}"));
        fs::write(&file, format!("content {number:02}")).expect("a source is written");
        let store = Arc::clone(&store);
        writers.spawn(async move { store.put("key", &file).await });
    }
    for outcome in writers.join_all().await {
        outcome.expect("each writer succeeds");
    }

    let content = fetch(&store, scratch, "key").await.expect("one of them has won");
    assert!(content.starts_with("content ") && content.len() == 10, "{content}");
}

pub async fn blobs_that_were_not_used_for_longest_are_trimmed(
    store: Arc<dyn BlobStore>,
    scratch: &Path,
) {
    for key in ["many/aa/fetched", "many/bb/found", "many/cc/unused", "other/unused"] {
        put(&store, scratch, key, "1234567890").await;
    }
    fetch(&store, scratch, "many/aa/fetched").await;
    store.present(&[("many/bb/found".to_owned(), 10)]).await.expect("a blob is looked for");

    let kept = store.trim("many", 30).await.expect("a folder is trimmed");
    let freed = store.trim("many", 25).await.expect("a folder is trimmed");
    let nothing = store.trim("none", 0).await.expect("a folder that is not there is trimmed");

    assert_eq!((kept, freed, nothing), (0, 10, 0));
    assert_eq!(fetch(&store, scratch, "many/cc/unused").await, None);
    assert!(fetch(&store, scratch, "many/aa/fetched").await.is_some());
    assert!(fetch(&store, scratch, "many/bb/found").await.is_some());
    assert!(fetch(&store, scratch, "other/unused").await.is_some());
}
