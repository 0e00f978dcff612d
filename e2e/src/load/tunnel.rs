//! A WebSocket over which messages go and come back until it is ended: RFC 6455.

use std::{
    io::{self, Read, Write},
    thread,
};

use super::{
    Kind, Shared, Trouble,
    exchange::{Connection, connect, read_head},
};

/// Goes on until the load is over, which is not told to the app, or the tunnel ends.
pub(super) fn run(shared: &Shared) -> Result<(), Trouble> {
    let mut connection = connect(shared.router)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        shared.host
    );
    let broken = |error: io::Error| Trouble::Broken(format!("tunnel: {error}"));
    connection.get_mut().write_all(request.as_bytes()).map_err(broken)?;
    let head = read_head(&mut connection)?;
    if !head.starts_with("HTTP/1.1 101") {
        return Err(Trouble::Wrong(format!("tunnel: {head:?}")));
    }
    let mut number = 0_u8;
    loop {
        number = number.wrapping_add(1);
        // A text of one sign, masked with zeros. That it cannot be sent is told by what is read.
        let text = b'a' + number % 26;
        let sent = connection.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, text]);
        match (frame(&mut connection).map_err(broken)?, sent) {
            ((0x81, payload), _) if payload == [text] => shared.served(Kind::Tunnel),
            ((0x88, payload), _) if payload.starts_with(&1001_u16.to_be_bytes()) => {
                return Err(Trouble::GoneAway);
            }
            (other, sent) => return Err(Trouble::Wrong(format!("tunnel: {other:?}, {sent:?}"))),
        }
        if shared.is_over() {
            return Ok(());
        }
        thread::sleep(Kind::Tunnel.pause());
    }
}

/// A short frame of the server: its first byte and what it carries.
fn frame(connection: &mut Connection) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    connection.read_exact(&mut start)?;
    let mut payload = vec![0; usize::from(start[1])];
    connection.read_exact(&mut payload)?;
    Ok((start[0], payload))
}
