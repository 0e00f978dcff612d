//! The key file that the credentials of services are sealed with.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;
use cupola_control::vault::Vault;
use cupola_ports::store::Store;

/// Reads the key file, or makes one. A database with secrets that the file does not open is refused
/// before anything is written: a new key would not bring them back.
pub(super) async fn vault(path: &Path, store: &dyn Store) -> anyhow::Result<Vault> {
    let name = || format!("cannot use the key file of sealed credentials, {}", path.display());
    let (text, is_new) = match fs::read_to_string(path) {
        Ok(text) => (text, false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (Vault::new_key_file().context("the host has no random bytes")?, true)
        }
        Err(error) => return Err(error).with_context(name),
    };
    let vault = Vault::parse(&text).with_context(name)?;
    let missing = || {
        let what = if is_new { "is missing" } else { "is of another installation" };
        format!("the key file of sealed credentials, {}, {what}", path.display())
    };
    vault.check(store).await.with_context(missing)?;
    if is_new {
        write(path, &text).with_context(name)?;
    }
    Ok(vault)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    // Secrets are sealed from now on: the name of their key has to outlive a loss of power.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use cupola_domain::{
        ids::{ServiceInstanceId, SpaceId},
        orgs::Metadata,
        sealed::Sealed,
        services::ServiceInstance,
        time::Timestamp,
    };
    use cupola_ports::store;
    use cupola_store::SqliteStore;

    use super::*;

    /// A secret, sealed with a key that nobody has any more.
    async fn seal_something(store: &SqliteStore) {
        let at = Timestamp::from_micros(0);
        let instance = ServiceInstance {
            id: ServiceInstanceId::random(),
            space_id: SpaceId::random(),
            name: "db".to_owned(),
            tags: Vec::new(),
            syslog_drain_url: None,
            route_service_url: None,
            credentials: Some(Sealed::new("00c0ffee", "AAAA")),
            metadata: Metadata::default(),
            created_at: at,
            updated_at: at,
        };
        let mut tx = store.write(None).await.unwrap();
        store::insert(&mut *tx, &instance).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn first_start_makes_a_key_that_root_alone_reads_and_later_ones_keep_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("cupola.db")).await.unwrap();
        let path = dir.path().join("sealing-key");

        vault(&path, &store).await.unwrap();
        let first = fs::read_to_string(&path).unwrap();
        vault(&path, &store).await.unwrap();

        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn missing_or_wrong_key_file_is_refused_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("cupola.db")).await.unwrap();
        seal_something(&store).await;
        let path = dir.path().join("sealing-key");
        let told = async || {
            let refused = vault(&path, &store).await.map(|_| ()).unwrap_err();
            format!("{refused:#}")
        };

        let missing = told().await;
        assert!(!path.exists());
        fs::write(&path, Vault::new_key_file().unwrap()).unwrap();
        let wrong = told().await;
        fs::write(&path, "not a key").unwrap();
        let broken = told().await;

        assert!(missing.contains("is missing"), "{missing}");
        assert!(wrong.contains("is of another installation"), "{wrong}");
        for text in [missing, wrong] {
            assert!(text.contains("sealed with the key 00c0ffee"), "{text}");
            assert!(text.contains("Put the key file of this installation back"), "{text}");
        }
        assert!(broken.contains("line 1 is not"), "{broken}");
    }
}
