//! The few calls to the kernel that no safe library offers.
//!
//! Invariant: the only module of the shim and of control with unsafe code; every block says why it
//! is sound. The init has its own, because it must not allocate between fork and exec.
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper; each block says why it is sound"
)]

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    thread::UnshareFlags,
};

/// A user namespace and a network namespace that belongs to it, kept by their descriptors.
#[derive(Debug)]
pub(crate) struct NamespacePair {
    pub(crate) user: OwnedFd,
    pub(crate) net: OwnedFd,
}

/// The kernel counts the inotify instances of all user namespaces together, as those of the user who
/// made them, and usually gives that one 128. This many are for each.
const INOTIFY_INSTANCES_MAX: &[u8] = b"16";

/// Makes a pair whose ids 0 to 65535 are `uid_base` and up on the host.
pub(crate) fn namespace_pair(uid_base: u32) -> io::Result<NamespacePair> {
    let child = Sleeper::start(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)?;
    let proc = Path::new("/proc").join(child.pid.as_raw_nonzero().to_string());
    child.wait_for_limits()?;
    let map = format!("0 {uid_base} 65536\n");
    fs::write(proc.join("uid_map"), &map)?;
    fs::write(proc.join("gid_map"), &map)?;
    Ok(NamespacePair {
        user: fs::File::open(proc.join("ns/user"))?.into(),
        net: fs::File::open(proc.join("ns/net"))?.into(),
    })
}

/// A user namespace in which the one id `inside` is `outside` on the host, for id-mapped mounts.
pub(crate) fn user_namespace_of_one(inside: u32, outside: u32) -> io::Result<OwnedFd> {
    let child = Sleeper::start(libc::CLONE_NEWUSER)?;
    let proc = Path::new("/proc").join(child.pid.as_raw_nonzero().to_string());
    let map = format!("{inside} {outside} 1\n");
    fs::write(proc.join("uid_map"), &map)?;
    fs::write(proc.join("gid_map"), &map)?;
    Ok(fs::File::open(proc.join("ns/user"))?.into())
}

/// A child that sleeps in new namespaces until it is dropped.
struct Sleeper {
    pid: Pid,
    pidfd: OwnedFd,
    /// Has one byte once the child has set the limits of its user namespace.
    limited: OwnedFd,
}

impl Sleeper {
    fn start(flags: libc::c_int) -> io::Result<Self> {
        let flags = libc::c_ulong::from((flags | libc::SIGCHLD).cast_unsigned());
        let (limited, says_limited) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // SAFETY: without CLONE_VM this is fork. The child makes only system calls that are
        // async-signal-safe and never returns, so locks held by other threads do not matter.
        let pid = unsafe {
            let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // Shows and takes the value of the namespace that the writer is in.
                let path = c"/proc/sys/user/max_inotify_instances";
                let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                let text = INOTIFY_INSTANCES_MAX;
                libc::write(file, text.as_ptr().cast(), text.len());
                libc::write(says_limited.as_raw_fd(), text.as_ptr().cast(), 1);
                loop {
                    libc::pause();
                }
            }
            pid
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        let raw =
            i32::try_from(pid).map_err(|_| io::Error::other("the kernel gave no process id"))?;
        let pid = Pid::from_raw(raw).ok_or_else(|| io::Error::other("no process id"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid, pidfd, limited })
    }

    /// A kernel without the limit says the same: nobody can do anything about it.
    fn wait_for_limits(&self) -> io::Result<()> {
        match rustix::io::read(&self.limited, &mut [0])? {
            0 => Err(io::Error::other("the process in a new namespace ended")),
            _ => Ok(()),
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty());
    }
}

/// Gives the calling, single-threaded process a mount table of its own.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: only the mount namespace changes; no descriptor or memory is affected.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// Attaches a copy of the mount at `source` to `target`, its owners shifted as `user_namespace` says.
pub(crate) fn mount_idmapped(
    source: &Path,
    target: &Path,
    user_namespace: BorrowedFd<'_>,
    writable: bool,
) -> io::Result<()> {
    let tree = idmapped_tree(source, user_namespace, writable)?;
    move_mount(&tree, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// A detached, id-mapped copy of the mount at `source`. Fails where the file system cannot do it.
pub(crate) fn idmapped_tree(
    source: &Path,
    user_namespace: BorrowedFd<'_>,
    writable: bool,
) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, source, flags)?;
    let mut set = libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if !writable {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(user_namespace.as_raw_fd().cast_unsigned()),
    };
    // SAFETY: the structure and the empty path live through the call, and its size is its own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(tree) } else { Err(io::Error::last_os_error()) }
}

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// `struct loop_config` of linux/loop.h, with its `struct loop_info64` spelled out.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// Makes a block device of `image`. It goes away when its last user does.
pub(crate) fn attach_loop(image: BorrowedFd<'_>) -> io::Result<(String, OwnedFd)> {
    let control = fs::File::options().read(true).write(true).open("/dev/loop-control")?;
    // Another process may take the free device between the two calls.
    for _ in 0..64 {
        // SAFETY: this request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error());
        }
        let path = format!("/dev/loop{number}");
        let device: OwnedFd = fs::File::options().read(true).write(true).open(&path)?.into();
        match configure_loop(device.as_fd(), image) {
            Ok(()) => return Ok((path, device)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("every free loop device was taken by others"))
}

fn configure_loop(device: BorrowedFd<'_>, image: BorrowedFd<'_>) -> io::Result<()> {
    let config = LoopConfig {
        fd: image.as_raw_fd().cast_unsigned(),
        block_size: 0,
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LO_FLAGS_AUTOCLEAR,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
        reserved: [0; 8],
    };
    // SAFETY: the structure has the layout that the kernel expects and outlives the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes `descriptor` number 3, kept open in programs that are started later.
pub(crate) fn place_at_three(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() == 3 {
        rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::empty())?;
        return Ok(descriptor);
    }
    // SAFETY: only the shim calls this, first thing, before it owns a descriptor of that number.
    let placed = unsafe {
        if libc::dup2(descriptor.as_raw_fd(), 3) < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(3)
    };
    Ok(placed)
}

/// Blocks the signals that a terminal or a service manager sends, for the calling process.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before it is read.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Makes a pipe with a name.
pub(crate) fn make_fifo(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string that outlives the call.
    let result = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The process id of a child that has ended and was not waited for yet. It stays so.
pub(crate) fn peek_ended_child() -> Option<i32> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: all zeros is a valid siginfo_t, and the kernel writes at most one.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let result = libc::waitid(libc::P_ALL, 0, &raw mut info, options);
        (result == 0 && info.si_pid() != 0).then(|| info.si_pid())
    }
}

/// Lets a program end when the process that starts it ends.
pub(crate) fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: prctl is async-signal-safe and touches nothing of this process.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

/// The first descriptor that the pipes of sidecars have in a container: behind its record.
pub(crate) const FIRST_OF_SIDECARS: i32 = 4;

/// Lets a program inherit these descriptors, numbered from `FIRST_OF_SIDECARS` on.
pub(crate) fn hand_over(
    command: &mut std::process::Command,
    descriptors: Vec<OwnedFd>,
) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    // Above every number that is given away, so that none is overwritten before it is copied.
    let above = FIRST_OF_SIDECARS + i32::try_from(descriptors.len()).map_err(io::Error::other)?;
    let copies: Vec<OwnedFd> = descriptors
        .iter()
        .map(|one| Ok(rustix::io::fcntl_dupfd_cloexec(one, above)?))
        .collect::<io::Result<_>>()?;
    // SAFETY: dup2 is async-signal-safe, and the copies are the closure's own. The numbers are taken by
    // pipes and the lock of the shim, so that none is one that the standard library needs for the exec.
    unsafe {
        command.pre_exec(move || {
            for (number, copy) in (FIRST_OF_SIDECARS..).zip(&copies) {
                if libc::dup2(copy.as_raw_fd(), number) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    Ok(())
}

/// Makes `file` the standard output and the standard error of this process.
pub(crate) fn replace_output(file: &fs::File) {
    // SAFETY: both numbers are streams that the standard library never closes.
    unsafe {
        libc::dup2(file.as_raw_fd(), 1);
        libc::dup2(file.as_raw_fd(), 2);
    }
}
