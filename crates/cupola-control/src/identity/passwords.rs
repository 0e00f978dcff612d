//! Password hashes, and the lock after too many wrong ones.
//!
//! Hashing costs 19 MiB and tens of milliseconds by intent, so that few run at a time, on threads
//! of their own, and few wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::ControlError;

const RUNNING_MAX: usize = 2;
const WAITING_MAX: usize = 64;

/// UAA's defaults: five failures lock a name for five minutes.
const FAILURES_MAX: u32 = 5;
const LOCK: Duration = Duration::from_secs(300);
const FAILURES_COUNT_FOR: Duration = Duration::from_secs(3600);
/// More names than this are not remembered; those that failed longest ago go first.
const NAMES_MAX: usize = 10_000;

struct Failures {
    count: u32,
    last: Duration,
}

pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    failures: Mutex<HashMap<String, Failures>>,
    /// What the password of an unknown user is compared with.
    decoy: Arc<OnceLock<String>>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
            failures: Mutex::default(),
            decoy: Arc::default(),
        }
    }

    /// Argon2id in PHC form.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, ControlError> {
        let password = password.to_owned();
        self.run(move || hash_now(&password)).await?
    }

    /// Whether `password` is the one that was hashed. Without a hash it is not, after the same time.
    pub(crate) async fn verify(
        &self,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, ControlError> {
        let password = password.to_owned();
        let decoy = Arc::clone(&self.decoy);
        self.run(move || {
            let is_known = hash.is_some();
            let hash = match hash {
                Some(hash) => hash,
                None => match decoy.get() {
                    Some(decoy) => decoy.clone(),
                    None => {
                        let made = hash_now("nobody has this password")?;
                        decoy.get_or_init(|| made).clone()
                    }
                },
            };
            let hash = PasswordHash::new(&hash).map_err(|error| failed("reading a hash", error))?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && is_known)
        })
        .await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ControlError> {
        let busy = |_| {
            ControlError::Busy("too many log-ins at a time; try again in a few seconds".to_owned())
        };
        let _waiting = self.waiting.try_acquire().map_err(busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        // The permit moves along: a client that hangs up does not make room for one more thread.
        let task = tokio::task::spawn_blocking(move || {
            let _running = running;
            work()
        });
        task.await.map_err(|error| failed("hashing a password", error))
    }

    pub(crate) fn is_locked(&self, name: &str, now: Duration) -> bool {
        let failures = self.failures.lock().expect("no panic while it is held");
        failures.get(name).is_some_and(|f| f.count >= FAILURES_MAX && now < f.last + LOCK)
    }

    pub(crate) fn count_failure(&self, name: &str, now: Duration) {
        let mut failures = self.failures.lock().expect("no panic while it is held");
        let entry = failures.entry(name.to_owned()).or_insert(Failures { count: 0, last: now });
        let is_old = now >= entry.last + FAILURES_COUNT_FOR;
        let was_locked = entry.count >= FAILURES_MAX && now >= entry.last + LOCK;
        entry.count = if is_old || was_locked { 1 } else { entry.count + 1 };
        entry.last = now;
        if failures.len() > NAMES_MAX {
            let oldest = failures.iter().min_by_key(|(_, f)| f.last).map(|(name, _)| name.clone());
            oldest.and_then(|name| failures.remove(&name));
        }
    }

    pub(crate) fn forget_failures(&self, name: &str) {
        self.failures.lock().expect("no panic while it is held").remove(name);
    }
}

fn hash_now(password: &str) -> Result<String, ControlError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)
        .map_err(|error| failed("asking for random bytes", error.to_string()))?;
    let hash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| failed("hashing a password", error))?;
    Ok(hash.to_string())
}

fn failed(
    action: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ControlError {
    ControlError::Outside { action, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn five_failures_lock_a_name_for_five_minutes() {
        let passwords = Passwords::new();
        for second in 0..5 {
            assert!(!passwords.is_locked("eve", SECOND * second));
            passwords.count_failure("eve", SECOND * second);
        }

        assert!(passwords.is_locked("eve", SECOND * 100));
        assert!(!passwords.is_locked("bob", SECOND * 100));
        assert!(!passwords.is_locked("eve", SECOND * 305));
    }

    #[test]
    fn after_the_lock_counting_begins_anew() {
        let passwords = Passwords::new();
        for _ in 0..5 {
            passwords.count_failure("eve", SECOND);
        }
        passwords.count_failure("eve", SECOND * 302);

        assert!(!passwords.is_locked("eve", SECOND * 303));
    }

    #[test]
    fn no_more_than_the_allowed_number_of_names_is_remembered() {
        let passwords = Passwords::new();
        for number in 0..=NAMES_MAX {
            passwords.count_failure(&format!("user-{number}"), SECOND * number as u32);
        }

        let failures = passwords.failures.lock().unwrap();
        assert_eq!(failures.len(), NAMES_MAX);
        assert!(!failures.contains_key("user-0"));
    }

    #[tokio::test]
    async fn only_the_hashed_password_is_right() {
        let passwords = Passwords::new();
        let hash = passwords.hash("open sesame").await.unwrap();

        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify("open sesame", Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("open barley", Some(hash)).await.unwrap());
        assert!(!passwords.verify("nobody has this password", None).await.unwrap());
    }
}
