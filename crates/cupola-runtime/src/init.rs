//! Process 1 of every container: starts the app, forwards signals, reaps, records the end.
//!
//! The record (`exit.raw`, descriptor 3) is what lets the exit status of an app outlive its shim:
//! a line `ready` once signals are taken care of, then `exit N` or `signal N`.
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

/// The descriptor on which the shim hands over `exit.raw`.
const RECORD: libc::c_int = 3;

/// Runs `[--] PROGRAM ARGUMENTS` and never returns.
pub fn init_main(args: Vec<OsString>) -> ! {
    let argv = to_c_strings(args);
    let pointers: Vec<*const libc::c_char> =
        argv.iter().map(|a| a.as_ptr()).chain([ptr::null()]).collect();
    let all_signals = block_all_signals();
    // SAFETY: plain system calls on values of this process.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        libc::fcntl(RECORD, libc::F_SETFD, libc::FD_CLOEXEC);
    }
    // SAFETY: this process has one thread, so the child may do whatever the parent may.
    let child = unsafe { libc::fork() };
    match child {
        0 => become_app(&pointers),
        -1 => finish("exit 126\n", 126),
        child => watch(child, &all_signals),
    }
}

/// Arguments without a leading `--`. One with a zero byte cannot come from an exec.
fn to_c_strings(args: Vec<OsString>) -> Vec<CString> {
    let mut args: Vec<CString> =
        args.into_iter().filter_map(|arg| CString::new(arg.into_vec()).ok()).collect();
    if args.first().is_some_and(|first| first.as_bytes() == b"--") {
        args.remove(0);
    }
    args
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

/// The parent: forwards every signal to the app and reaps until the app has ended.
fn watch(child: libc::pid_t, signals: &libc::sigset_t) -> ! {
    for descriptor in 0..3 {
        // SAFETY: nothing in this process uses its standard streams from here on.
        unsafe { libc::close(descriptor) };
    }
    write_all(RECORD, b"ready\n");
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: both pointers are valid; the signals are blocked, as sigwaitinfo wants.
        let signal = unsafe { libc::sigwaitinfo(signals, info.as_mut_ptr()) };
        match signal {
            libc::SIGCHLD => reap(child),
            signal if signal > 0 => {
                // SAFETY: sends a signal to a child that has not been reaped.
                unsafe { libc::kill(child, signal) };
            }
            _ => {}
        }
    }
}

/// Takes every ended child; ends the container when the app is among them.
fn reap(child: libc::pid_t) {
    loop {
        let mut status = 0;
        // SAFETY: the status is a valid place to write to.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return;
        }
        if pid != child {
            continue;
        }
        if libc::WIFEXITED(status) {
            let code = libc::WEXITSTATUS(status);
            finish(&format!("exit {code}\n"), code);
        }
        let signal = libc::WTERMSIG(status);
        finish(&format!("signal {signal}\n"), 128 + signal);
    }
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
