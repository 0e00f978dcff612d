//! The roles of the runtime, as the `cupola` binary has them, and small apps for the tests.
#![expect(clippy::print_stdout, reason = "apps write lines")]

use std::{
    env,
    error::Error,
    hint::black_box,
    io::{Read, Write},
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
        ["resolve", resolver] => resolve(resolver),
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
        let target: SocketAddr = address.parse()?;
        let outcome = match TcpStream::connect_timeout(&target, Duration::from_secs(2)) {
            Ok(_) => "open".to_owned(),
            Err(error) => format!("closed ({:?})", error.kind()),
        };
        println!("{address} {outcome}");
    }
    Ok(())
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

fn chatter(lines: u64) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for number in 0..lines {
        writeln!(out, "line {number}")?;
    }
    Ok(())
}
