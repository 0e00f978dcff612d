//! The last route table on disk, so that a router that starts serves before control answers.
//!
//! Written to a temporary file, synced and renamed, through a descriptor of the directory: the
//! router has given up the rights it would need to walk there by name.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cupola_domain::route_table::RouteTable;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

const NAME: &str = "routes.json";
const TEMPORARY: &str = "routes.json.tmp";
const FORMAT: &str = "cupola-route-table";
const VERSION: u32 = 1;

#[derive(Clone)]
pub(crate) struct SavedTable {
    directory: Arc<OwnedFd>,
    path: PathBuf,
    /// Held while the one temporary file is written. True once the file is a successor's.
    is_given_up: Arc<Mutex<bool>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SavedTableError {
    #[error("cannot {action} \"{}\"", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("\"{}\" is not a saved route table", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("\"{}\" has format {found}, which is newer than {VERSION}: it needs a newer cupola", path.display())]
    TooNew { path: PathBuf, found: u32 },
}

#[derive(Serialize, Deserialize)]
struct Envelope<Table> {
    format: String,
    version: u32,
    table: Table,
}

impl SavedTable {
    /// `directory` must exist.
    pub(crate) fn open(directory: &Path) -> Result<Self, SavedTableError> {
        let path = directory.join(NAME);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(directory, flags, Mode::empty());
        let opened = opened.map_err(|errno| {
            let path = directory.to_owned();
            SavedTableError::Io { action: "open the directory", path, source: errno.into() }
        })?;
        Ok(Self { directory: Arc::new(opened), path, is_given_up: Arc::default() })
    }

    pub(crate) fn load(&self) -> Result<Option<RouteTable>, SavedTableError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, NAME, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            file => file.map_err(|errno| self.failed("open", errno.into()))?,
        };
        let mut text = Vec::new();
        File::from(file).read_to_end(&mut text).map_err(|source| self.failed("read", source))?;
        self.parse(&text).map(Some)
    }

    fn parse(&self, text: &[u8]) -> Result<RouteTable, SavedTableError> {
        let malformed = |source| SavedTableError::Malformed { path: self.path.clone(), source };
        let envelope: Envelope<serde_json::Value> =
            serde_json::from_slice(text).map_err(malformed)?;
        if envelope.format != FORMAT || envelope.version > VERSION {
            return Err(SavedTableError::TooNew {
                path: self.path.clone(),
                found: envelope.version,
            });
        }
        serde_json::from_value(envelope.table).map_err(malformed)
    }

    pub(crate) fn save(&self, table: &RouteTable) -> Result<(), SavedTableError> {
        let is_given_up = self.is_given_up.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_given_up { Ok(()) } else { self.write(table) }
    }

    /// Nothing is saved after this: a save that still waits would overwrite a successor's table.
    pub(crate) fn save_last(&self, table: &RouteTable) -> Result<(), SavedTableError> {
        let mut is_given_up = self.is_given_up.lock().unwrap_or_else(PoisonError::into_inner);
        *is_given_up = true;
        self.write(table)
    }

    fn write(&self, table: &RouteTable) -> Result<(), SavedTableError> {
        let envelope = Envelope { format: FORMAT.to_owned(), version: VERSION, table };
        let text = serde_json::to_vec(&envelope)
            .map_err(|error| self.failed("serialize", error.into()))?;
        self.replace(&text).map_err(|source| self.failed("write", source))
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(&self.directory, TEMPORARY, flags, mode)?);
        file.write_all(text)?;
        file.sync_all()?;
        rustix::fs::renameat(&self.directory, TEMPORARY, &self.directory, NAME)?;
        rustix::fs::fsync(&self.directory)?;
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> SavedTableError {
        SavedTableError::Io { action, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN_V1: &str = r#"{"format":"cupola-route-table","version":1,"table":{"epoch":3,"version":9,"routes":[[{"host":"a.example.com","path":"/api"},{"rules":[{"matches":"any","groups":[{"app_id":"a0a0a0a0-0000-4000-8000-000000000001","process_type":"web","weight":1,"endpoints":[{"instance_id":"a0a0a0a0-0000-4000-8000-000000000002","process_id":"a0a0a0a0-0000-4000-8000-000000000003","index":0,"address":"10.255.0.2:8080"}]}],"mirror":null}]}],[{"host":"b.example.com","path":""},{"rules":[{"matches":{"header_equals":{"name":"x-canary","value":"1"}},"groups":[],"mirror":null}]}]]}}"#;

    fn saved() -> (tempfile::TempDir, SavedTable) {
        let directory = tempfile::tempdir().unwrap();
        let saved = SavedTable::open(directory.path()).unwrap();
        (directory, saved)
    }

    #[test]
    fn version_1_is_read_and_written_as_it_always_was() {
        let (directory, saved) = saved();
        std::fs::write(directory.path().join(NAME), GOLDEN_V1).unwrap();

        let table = saved.load().unwrap().unwrap();
        saved.save(&table).unwrap();

        assert_eq!((table.epoch, table.version, table.routes.len()), (3, 9, 2));
        assert_eq!(std::fs::read_to_string(directory.path().join(NAME)).unwrap(), GOLDEN_V1);
    }

    /// Of version 1, with what was added to it since: load balancing and pooled groups.
    const GOLDEN_V1_BALANCED: &str = r#"{"format":"cupola-route-table","version":1,"table":{"epoch":3,"version":9,"routes":[[{"host":"a.example.com","path":""},{"rules":[{"matches":"any","groups":[],"mirror":null,"is_pooled":true}],"load_balancing":{"hash":{"header":"x-user","balance_permille":1250}}}],[{"host":"b.example.com","path":""},{"rules":[],"load_balancing":"least_connection"}]]}}"#;

    #[test]
    fn balancing_is_read_and_written_as_it_always_was() {
        let (directory, saved) = saved();
        std::fs::write(directory.path().join(NAME), GOLDEN_V1_BALANCED).unwrap();

        let table = saved.load().unwrap().unwrap();
        saved.save(&table).unwrap();

        let written = std::fs::read_to_string(directory.path().join(NAME)).unwrap();
        assert_eq!(written, GOLDEN_V1_BALANCED);
    }

    #[test]
    fn nothing_is_saved_after_the_last_time() {
        let (_directory, saved) = saved();
        let later = RouteTable { version: 2, ..RouteTable::default() };

        saved.save_last(&RouteTable { version: 1, ..RouteTable::default() }).unwrap();
        saved.save(&later).unwrap();

        assert_eq!(saved.load().unwrap().unwrap().version, 1);
    }

    #[test]
    fn missing_malformed_and_newer_tables_are_told_apart() {
        let (directory, saved) = saved();
        let put = |text: &str| std::fs::write(directory.path().join(NAME), text).unwrap();

        assert!(saved.load().unwrap().is_none());
        put("{");
        assert!(matches!(saved.load(), Err(SavedTableError::Malformed { .. })));
        put(r#"{"format":"cupola-route-table","version":2,"table":7}"#);
        assert!(matches!(saved.load(), Err(SavedTableError::TooNew { found: 2, .. })));
    }
}
