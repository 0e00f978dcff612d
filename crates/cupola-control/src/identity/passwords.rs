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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::ControlError;

const RUNNING_MAX: usize = 2;
const WAITING_MAX: usize = 64;

/// UAA's defaults: five failures lock a name for five minutes.
const FAILURES_MAX: u32 = 5;
const LOCK: Duration = Duration::from_secs(300);
const FAILURES_COUNT_FOR: Duration = Duration::from_secs(3600);
/// More names than this are not remembered; those that failed longest ago go first.
const NAMES_MAX: usize = 10_000;

/// What came of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// It was not looked at: the name has failed too often.
    Locked,
}

struct Failures {
    /// Guesses that are being looked at count as well, or as many as wait could be made at once.
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
        self.turn().await?.run(move || hash_now(&password)).await?
    }

    /// Whether `password` is the one that was hashed, if `name` has a guess left. Without a hash it
    /// is not, after the same time.
    pub(crate) async fn guess(
        &self,
        name: &str,
        now: Duration,
        password: &str,
        hash: Option<String>,
    ) -> Result<Verdict, ControlError> {
        if self.is_locked(name, now) {
            return Ok(Verdict::Locked);
        }
        let turn = self.turn().await?;
        // Only now, so that right passwords that wait for their turn lock nobody out.
        if !self.take_guess(name, now) {
            return Ok(Verdict::Locked);
        }
        let password = password.to_owned();
        let decoy = Arc::clone(&self.decoy);
        let is_right = turn.run(move || verify_now(&password, hash, &decoy)).await??;
        if !is_right {
            return Ok(Verdict::Wrong);
        }
        self.forget_failures(name);
        Ok(Verdict::Right)
    }

    /// Waits until one more password may be hashed.
    async fn turn(&self) -> Result<Turn<'_>, ControlError> {
        let busy = |_| {
            ControlError::Busy("too many log-ins at a time; try again in a few seconds".to_owned())
        };
        let waiting = self.waiting.try_acquire().map_err(busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|error| failed("waiting for a turn to hash", error))?;
        Ok(Turn { _waiting: waiting, running })
    }

    fn is_locked(&self, name: &str, now: Duration) -> bool {
        let failures = self.failures.lock().expect("no panic while it is held");
        failures.get(name).is_some_and(|failures| failures.locks(now))
    }

    /// Counts a guess as failed, which is taken back when it was right. False: none is left.
    fn take_guess(&self, name: &str, now: Duration) -> bool {
        let mut failures = self.failures.lock().expect("no panic while it is held");
        let entry = failures.entry(name.to_owned()).or_insert(Failures { count: 0, last: now });
        if entry.locks(now) {
            return false;
        }
        let is_old = now >= entry.last + FAILURES_COUNT_FOR;
        let was_locked = entry.count >= FAILURES_MAX;
        entry.count = if is_old || was_locked { 1 } else { entry.count + 1 };
        entry.last = now;
        if failures.len() > NAMES_MAX {
            let oldest = failures.iter().min_by_key(|(_, f)| f.last).map(|(name, _)| name.clone());
            oldest.and_then(|name| failures.remove(&name));
        }
        true
    }

    fn forget_failures(&self, name: &str) {
        self.failures.lock().expect("no panic while it is held").remove(name);
    }
}

impl Failures {
    fn locks(&self, now: Duration) -> bool {
        self.count >= FAILURES_MAX && now < self.last + LOCK
    }
}

/// The right to hash one password.
struct Turn<'a> {
    _waiting: SemaphorePermit<'a>,
    running: OwnedSemaphorePermit,
}

impl Turn<'_> {
    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ControlError> {
        let running = self.running;
        // The permit moves along: a client that hangs up does not make room for one more thread.
        let task = tokio::task::spawn_blocking(move || {
            let _running = running;
            work()
        });
        task.await.map_err(|error| failed("hashing a password", error))
    }
}

fn verify_now(
    password: &str,
    hash: Option<String>,
    decoy: &OnceLock<String>,
) -> Result<bool, ControlError> {
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
            assert!(passwords.take_guess("eve", SECOND * second));
        }

        assert!(passwords.is_locked("eve", SECOND * 100));
        assert!(!passwords.take_guess("eve", SECOND * 100));
        assert!(!passwords.is_locked("bob", SECOND * 100));
        assert!(!passwords.is_locked("eve", SECOND * 305));
    }

    #[test]
    fn after_the_lock_counting_begins_anew() {
        let passwords = Passwords::new();
        for _ in 0..5 {
            passwords.take_guess("eve", SECOND);
        }

        assert!(passwords.take_guess("eve", SECOND * 302));
        assert!(!passwords.is_locked("eve", SECOND * 303));
    }

    #[test]
    fn no_more_than_the_allowed_number_of_names_is_remembered() {
        let passwords = Passwords::new();
        for number in 0..=NAMES_MAX {
            passwords.take_guess(&format!("user-{number}"), SECOND * number as u32);
        }

        let failures = passwords.failures.lock().unwrap();
        assert_eq!(failures.len(), NAMES_MAX);
        assert!(!failures.contains_key("user-0"));
    }

    #[tokio::test]
    async fn guesses_made_at_once_are_no_more_than_those_made_one_by_one() {
        let passwords = Passwords::new();
        let hash = passwords.hash("open sesame").await.unwrap();

        let verdicts = twenty_guesses(passwords, "wrong", hash).await;

        assert_eq!(verdicts.iter().filter(|one| **one == Verdict::Wrong).count(), 5);
    }

    #[tokio::test]
    async fn right_passwords_at_once_lock_nobody_out() {
        let passwords = Passwords::new();
        let hash = passwords.hash("open sesame").await.unwrap();

        let verdicts = twenty_guesses(passwords, "open sesame", hash).await;

        assert_eq!(verdicts, [Verdict::Right; 20]);
    }

    async fn twenty_guesses(
        passwords: Passwords,
        password: &'static str,
        hash: String,
    ) -> Vec<Verdict> {
        let passwords = Arc::new(passwords);
        let mut guesses = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (passwords, hash) = (Arc::clone(&passwords), Some(hash.clone()));
            guesses.spawn(
                async move { passwords.guess("eve", SECOND, password, hash).await.unwrap() },
            );
        }
        guesses.join_all().await
    }

    #[tokio::test]
    async fn only_the_hashed_password_is_right() {
        let passwords = Passwords::new();
        let hash = passwords.hash("open sesame").await.unwrap();
        let guess = async |name, password, hash| {
            passwords.guess(name, SECOND, password, hash).await.unwrap()
        };

        assert!(hash.starts_with("$argon2id$"));
        assert_eq!(guess("ada", "open sesame", Some(hash.clone())).await, Verdict::Right);
        assert_eq!(guess("ada", "open barley", Some(hash)).await, Verdict::Wrong);
        assert_eq!(guess("bob", "nobody has this password", None).await, Verdict::Wrong);
    }
}
