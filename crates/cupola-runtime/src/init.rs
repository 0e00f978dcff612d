//! Process 1 of every container: starts the app, forwards signals, reaps, records the end.
//!
//! The record (`exit.raw`, descriptor 3) is what lets the exit status of an app outlive its shim:
//! a line `ready` once signals are taken care of, then `exit N` or `signal N` of what ended first,
//! after a line `sidecar N` if that was not the app itself.
//!
//! Sidecars are programs beside the app, as many as it likes. When one of them or the app ends, the
//! others are told to, as Diego does; they have as long as an instance has that is stopped.
//! Invariant: works in any root file system, also in one without a C library, and the app cannot
//! reach it.
#![expect(unsafe_code, reason = "fork, exec and signal masks; each block says why it is sound")]

use std::{
    ffi::{CString, OsString},
    io,
    mem::MaybeUninit,
    os::unix::ffi::OsStringExt,
    ptr,
};

use crate::sys::FIRST_OF_SIDECARS;

/// The descriptor on which the shim hands over `exit.raw`.
const RECORD: libc::c_int = 3;
/// Says that a sidecar follows: the number of its words, then these.
pub(crate) const BESIDE: &str = "--beside";
/// How long the others have when one has ended, in seconds.
const GRACE_S: libc::c_uint = 10;

/// Runs `[--beside COUNT WORD...]... [--] PROGRAM ARGUMENTS` and never returns.
pub fn init_main(args: Vec<OsString>) -> ! {
    let (sidecars, app) = programs(to_c_strings(args));
    let all_signals = block_all_signals();
    let pipes = sidecars.len() * 2;
    // SAFETY: plain system calls on values of this process.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        for descriptor in (RECORD..).take(1 + pipes) {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    let mut children = Vec::with_capacity(1 + sidecars.len());
    children.push(start(&app, None));
    for (number, sidecar) in sidecars.iter().enumerate() {
        children.push(start(sidecar, Some(number)));
    }
    watch(children, pipes, &all_signals)
}

/// Arguments as an exec wants them. One with a zero byte cannot come from an exec.
fn to_c_strings(args: Vec<OsString>) -> Vec<CString> {
    args.into_iter().filter_map(|arg| CString::new(arg.into_vec()).ok()).collect()
}

/// The sidecars, and the app.
fn programs(mut words: Vec<CString>) -> (Vec<Vec<CString>>, Vec<CString>) {
    let mut sidecars = Vec::new();
    while words.first().is_some_and(|first| first.as_bytes() == BESIDE.as_bytes()) {
        let count = words.get(1).and_then(|count| count.to_str().ok()?.parse::<usize>().ok());
        let from = 2.min(words.len());
        let until = from.saturating_add(count.unwrap_or_default()).min(words.len());
        sidecars.push(words[from..until].to_vec());
        words.drain(..until);
    }
    if words.first().is_some_and(|first| first.as_bytes() == b"--") {
        words.remove(0);
    }
    (sidecars, words)
}

/// Starts the app, or the sidecar of this number with its own pipes.
fn start(argv: &[CString], sidecar: Option<usize>) -> libc::pid_t {
    let pointers: Vec<*const libc::c_char> =
        argv.iter().map(|a| a.as_ptr()).chain([ptr::null()]).collect();
    // SAFETY: this process has one thread, so the child may do whatever the parent may.
    match unsafe { libc::fork() } {
        0 => {
            if let Some(output) = sidecar.and_then(|number| i32::try_from(number * 2).ok()) {
                // SAFETY: the shim has placed two descriptors for each sidecar there.
                unsafe {
                    libc::dup2(FIRST_OF_SIDECARS + output, 1);
                    libc::dup2(FIRST_OF_SIDECARS + output + 1, 2);
                }
            }
            become_app(&pointers)
        }
        // What was started already ends with this process.
        -1 => finish("exit 126\n", 126),
        child => child,
    }
}

fn block_all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set before it is read.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut());
        set.assume_init()
    }
}

/// The child: an ordinary signal state, then the app. 127 if it is not there, 126 if it cannot run.
fn become_app(argv: &[*const libc::c_char]) -> ! {
    // SAFETY: the pointers are C strings that live until exec, and the list ends with null.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        if argv[0].is_null() {
            libc::_exit(127);
        }
        libc::execvp(argv[0], argv.as_ptr());
        let error = io::Error::last_os_error();
        let name = std::ffi::CStr::from_ptr(argv[0]).to_string_lossy();
        write_all(2, format!("cannot run `{name}`: {error}\n").as_bytes());
        libc::_exit(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
    }
}

/// The parent: forwards every signal to the app and its sidecars and reaps until they have ended.
fn watch(children: Vec<libc::pid_t>, pipes: usize, signals: &libc::sigset_t) -> ! {
    for descriptor in (0..3).chain((FIRST_OF_SIDECARS..).take(pipes)) {
        // SAFETY: nothing in this process uses its standard streams from here on.
        unsafe { libc::close(descriptor) };
    }
    write_all(RECORD, b"ready\n");
    let mut family = Family { running: children.clone(), children, told_to_end: false, code: None };
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: both pointers are valid; the signals are blocked, as sigwaitinfo wants.
        let signal = unsafe { libc::sigwaitinfo(signals, info.as_mut_ptr()) };
        match (signal, family.code) {
            (libc::SIGCHLD, _) => family.reap(),
            // The time of those that are left is up: they end with this process.
            (libc::SIGALRM, Some(code)) => finish("", code),
            (signal, _) if signal > 0 => family.signal(signal),
            _ => {}
        }
    }
}

/// The app, which is the first, and its sidecars.
struct Family {
    children: Vec<libc::pid_t>,
    /// Those that have not been reaped.
    running: Vec<libc::pid_t>,
    told_to_end: bool,
    /// How the first that ended did.
    code: Option<libc::c_int>,
}

impl Family {
    fn signal(&mut self, signal: libc::c_int) {
        self.told_to_end |= signal == libc::SIGTERM;
        for child in &self.running {
            // SAFETY: sends a signal to a child that has not been reaped.
            unsafe { libc::kill(*child, signal) };
        }
    }

    /// Takes every ended child; ends the container when the last of the family is among them.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: the status is a valid place to write to.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            let Some(number) = self.children.iter().position(|child| *child == pid) else {
                continue;
            };
            self.running.retain(|child| *child != pid);
            let is_first = self.code.is_none();
            let code = *self.code.get_or_insert_with(|| record(number, status));
            if self.running.is_empty() {
                finish("", code);
            }
            if !self.told_to_end {
                self.signal(libc::SIGTERM);
            }
            if is_first {
                // SAFETY: a plain system call; the signal that it brings is waited for.
                unsafe { libc::alarm(GRACE_S) };
            }
        }
    }
}

/// Writes down how the first that ended did. Returns what this process ends with.
fn record(number: usize, status: libc::c_int) -> libc::c_int {
    let (end, code) = if libc::WIFEXITED(status) {
        let code = libc::WEXITSTATUS(status);
        (format!("exit {code}\n"), code)
    } else {
        let signal = libc::WTERMSIG(status);
        (format!("signal {signal}\n"), 128 + signal)
    };
    let whose = number.checked_sub(1).map_or_else(String::new, |n| format!("sidecar {n}\n"));
    write_all(RECORD, format!("{whose}{end}").as_bytes());
    code
}

fn finish(record: &str, code: libc::c_int) -> ! {
    write_all(RECORD, record.as_bytes());
    // SAFETY: nothing needs to be flushed or dropped.
    unsafe { libc::_exit(code) }
}

fn write_all(descriptor: libc::c_int, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length describe `bytes`.
        let written = unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => bytes = &bytes[written..],
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<CString> {
        text.iter().map(|word| CString::new(*word).unwrap()).collect()
    }

    #[test]
    fn words_are_those_of_the_app_unless_they_are_counted_as_a_sidecars() {
        let alone = programs(words(&["--", "app", "--beside"]));
        let beside =
            programs(words(&["--beside", "2", "tail", "--", "--beside", "1", "log", "--", "app"]));

        assert_eq!(alone, (vec![], words(&["app", "--beside"])));
        let sidecars = vec![words(&["tail", "--"]), words(&["log"])];
        assert_eq!(beside, (sidecars, words(&["app"])));
    }
}
