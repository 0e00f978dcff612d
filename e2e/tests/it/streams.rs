//! What flows both ways through the router for as long as both sides like, with the Express sample.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::{cli::Cli, platform::Platform};

const HOST: &str = "express.apps.localhost";

/// A connection to the router on which a request was begun with these lines.
fn begin(platform: &Platform, lines: &[&str]) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(platform.router).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{}\r\nHost: {HOST}\r\n{}\r\n\r\n", lines[0], lines[1..].join("\r\n"));
    stream.write_all(head.as_bytes()).unwrap();
    BufReader::new(stream)
}

/// The head of the answer.
fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "cut: {head}");
    }
    head.to_ascii_lowercase()
}

/// Each piece comes back before the next one is sent.
pub fn answer_streams_while_the_request_goes_on(platform: &Platform) {
    let mut stream = begin(
        platform,
        &["POST /echo HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close"],
    );

    stream.get_mut().write_all(b"4\r\none \r\n").unwrap();
    assert!(head(&mut stream).starts_with("http/1.1 200"));
    for piece in ["one ", "two ", "three"] {
        if piece != "one " {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.get_mut().write_all(chunk.as_bytes()).unwrap();
        }
        assert_eq!(chunk(&mut stream), piece);
    }
    stream.get_mut().write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(chunk(&mut stream), "");
}

fn chunk(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let size = usize::from_str_radix(line.trim(), 16).unwrap();
    let mut piece = vec![0; size + 2];
    stream.read_exact(&mut piece).unwrap();
    String::from_utf8(piece[..size].to_vec()).unwrap()
}

/// More than what the buffers between client and app hold, so that both directions must flow.
pub fn upload_comes_back_whole(platform: &Platform) {
    let sent: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let length = format!("Content-Length: {}", sent.len());
    let mut stream = begin(platform, &["POST /echo HTTP/1.1", &length, "Connection: close"]);
    let mut upload = stream.get_ref().try_clone().unwrap();

    let received = std::thread::scope(|scope| {
        scope.spawn(|| upload.write_all(&sent).unwrap());
        assert!(head(&mut stream).contains("transfer-encoding: chunked"));
        let mut received = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut piece = vec![0; size + 2];
            stream.read_exact(&mut piece).unwrap();
            if size == 0 {
                break received;
            }
            received.extend_from_slice(&piece[..size]);
        }
    });

    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}

/// A message comes back; the stop of the app ends the socket with 1001.
pub fn websocket_echoes_and_goes_away_with_the_app(platform: &Platform, cf: &Cli) {
    let mut socket = begin(
        platform,
        &[
            "GET /ws HTTP/1.1",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
    );
    let upgraded = head(&mut socket);
    assert!(upgraded.starts_with("http/1.1 101"), "{upgraded}");
    // The key of RFC 6455, section 1.3.
    assert!(upgraded.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{upgraded}");

    // A text frame, masked with zeros.
    socket.get_mut().write_all(b"\x81\x85\0\0\0\0hello").unwrap();
    assert_eq!(frame(&mut socket), (0x81, b"hello".to_vec()));

    cf.ok(&["stop", "express"]);

    let (kind, payload) = frame(&mut socket);
    assert_eq!(kind, 0x88, "a close frame");
    assert_eq!(payload[..2], 1001_u16.to_be_bytes(), "going away");
    cf.ok(&["start", "express"]);
}

/// A short frame of the server: its first byte and what it carries.
fn frame(socket: &mut BufReader<TcpStream>) -> (u8, Vec<u8>) {
    let mut start = [0; 2];
    socket.read_exact(&mut start).unwrap();
    let mut payload = vec![0; usize::from(start[1])];
    socket.read_exact(&mut payload).unwrap();
    (start[0], payload)
}
