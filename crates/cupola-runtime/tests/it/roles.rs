//! The roles of the runtime, as the `cupola` binary has them, and small apps for the tests.
#![expect(clippy::print_stdout, reason = "apps write lines")]
#![expect(unsafe_code, reason = "asks the kernel for what it must refuse")]

use std::{
    env,
    error::Error,
    hint::black_box,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

fn main() -> Result<(), Box<dyn Error>> {
    cupola_runtime::enter_role(env::args_os().skip(1));
    let args: Vec<String> = env::args().skip(2).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["serve", address] => serve(address, "200 OK"),
        ["serve", address, status] => serve(address, status),
        ["idle"] => idle(),
        ["eat-memory"] => eat_memory(),
        ["connect", addresses @ ..] => connect(addresses),
        ["connect-often", address, times] => connect_often(address, times.parse()?),
        ["resolve", resolver] => resolve(resolver),
        ["inotify"] => inotify(),
        ["forbidden-calls"] => forbidden_calls(),
        ["chatter", lines] => chatter(lines.parse()?),
        _ => Err("unknown test app".into()),
    }
}

fn idle() -> ! {
    loop {
        thread::park();
    }
}

/// Answers every connection in HTTP.
fn serve(address: &str, status: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {address}");
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut head = [0; 1024];
        let _ = stream.read(&mut head);
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nhello");
    }
    Ok(())
}

fn eat_memory() -> Result<(), Box<dyn Error>> {
    println!("eating");
    let mut eaten = Vec::new();
    loop {
        eaten.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Says of each address whether a connection is accepted.
fn connect(addresses: &[&str]) -> Result<(), Box<dyn Error>> {
    for address in addresses {
        println!("{address} {}", outcome_of(&connection_to(address)?));
    }
    Ok(())
}

/// Holds so many connections at once, and says of each whether it was accepted.
fn connect_often(address: &str, times: usize) -> Result<(), Box<dyn Error>> {
    let mut held = Vec::new();
    for _ in 0..times {
        let connection = connection_to(address)?;
        println!("{}", outcome_of(&connection));
        held.push(connection);
    }
    Ok(())
}

fn connection_to(address: &str) -> Result<io::Result<TcpStream>, Box<dyn Error>> {
    let target: SocketAddr = address.parse()?;
    Ok(TcpStream::connect_timeout(&target, Duration::from_secs(2)))
}

fn outcome_of(connection: &io::Result<TcpStream>) -> String {
    match connection {
        Ok(_) => "open".to_owned(),
        Err(error) => format!("closed ({:?})", error.kind()),
    }
}

/// Asks a resolver for the root's name servers: any answer will do.
fn resolve(resolver: &str) -> Result<(), Box<dyn Error>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    let question = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    socket.send_to(&question, (resolver, 53))?;
    let mut answer = [0; 2048];
    let outcome = if socket.recv(&mut answer).is_ok() { "answered" } else { "silent" };
    println!("{resolver} {outcome}");
    Ok(())
}

/// Makes as many inotify instances as it may.
fn inotify() -> Result<(), Box<dyn Error>> {
    // SAFETY: has no pointer among its arguments.
    let made = (0..1000).take_while(|_| unsafe { libc::inotify_init() } >= 0).count();
    println!("instances {made}");
    Ok(())
}

fn chatter(lines: u64) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for number in 0..lines {
        writeln!(out, "line {number}")?;
    }
    Ok(())
}

/// Makes system calls that must fail, with arguments that would do no harm if they did not, and
/// says the error of each.
fn forbidden_calls() -> Result<(), Box<dyn Error>> {
    use libc as c;
    let calls: [(&str, c::c_long, [c::c_long; 3]); 34] = [
        ("unshare-user", c::SYS_unshare, [c::CLONE_NEWUSER.into(), 0, 0]),
        ("unshare-mount", c::SYS_unshare, [c::CLONE_NEWNS.into(), 0, 0]),
        ("setns", c::SYS_setns, [0, 0, 0]),
        ("clone3", c::SYS_clone3, [0, 0, 0]),
        ("ptrace-traceme", c::SYS_ptrace, [0, 0, 0]),
        ("process-vm-readv", c::SYS_process_vm_readv, [1, 0, 0]),
        ("bpf", c::SYS_bpf, [0, 0, 0]),
        ("keyctl", c::SYS_keyctl, [0, 0, 0]),
        ("add-key", c::SYS_add_key, [0, 0, 0]),
        ("perf-event-open", c::SYS_perf_event_open, [0, 0, 0]),
        ("io-uring-setup", c::SYS_io_uring_setup, [1, 0, 0]),
        ("userfaultfd", c::SYS_userfaultfd, [0, 0, 0]),
        ("fsopen", c::SYS_fsopen, [0, 0, 0]),
        ("open-tree", c::SYS_open_tree, [0, 0, 0]),
        ("move-mount", c::SYS_move_mount, [0, 0, 0]),
        ("mount-setattr", c::SYS_mount_setattr, [0, 0, 0]),
        ("pivot-root", c::SYS_pivot_root, [0, 0, 0]),
        ("open-by-handle-at", c::SYS_open_by_handle_at, [0, 0, 0]),
        ("name-to-handle-at", c::SYS_name_to_handle_at, [0, 0, 0]),
        ("kexec-load", c::SYS_kexec_load, [0, 0, 0]),
        ("init-module", c::SYS_init_module, [0, 0, 0]),
        ("delete-module", c::SYS_delete_module, [0, 0, 0]),
        ("swapoff", c::SYS_swapoff, [0, 0, 0]),
        ("acct", c::SYS_acct, [0, 0, 0]),
        ("quotactl", c::SYS_quotactl, [0, 0, 0]),
        ("syslog", c::SYS_syslog, [3, 0, 0]),
        ("iopl", c::SYS_iopl, [0, 0, 0]),
        ("lookup-dcookie", c::SYS_lookup_dcookie, [0, 0, 0]),
        ("socket-packet", c::SYS_socket, [c::AF_PACKET.into(), c::SOCK_RAW.into(), 0]),
        ("socket-raw", c::SYS_socket, [c::AF_INET.into(), c::SOCK_RAW.into(), 1]),
        ("socket-vsock", c::SYS_socket, [c::AF_VSOCK.into(), c::SOCK_STREAM.into(), 0]),
        ("socket-alg", c::SYS_socket, [c::AF_ALG.into(), c::SOCK_SEQPACKET.into(), 0]),
        ("set-user", c::SYS_setuid, [0, 0, 0]),
        ("set-group", c::SYS_setgid, [0, 0, 0]),
    ];
    for (name, number, [first, second, third]) in calls {
        // SAFETY: no pointer among the arguments is followed before the call is refused, and null
        // pointers are errors to the kernel, not to this process.
        let result = unsafe { libc::syscall(number, first, second, third, 0, 0, 0) };
        let error = std::io::Error::last_os_error();
        let outcome = if result >= 0 { "allowed".to_owned() } else { error.to_string() };
        println!("{name} {outcome}");
    }
    Ok(())
}
