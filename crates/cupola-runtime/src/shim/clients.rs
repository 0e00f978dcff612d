//! The connections to `ctl.sock`: requests come in, answers and output go out.
//!
//! At most one connection is attached and gets the output; the newest one that asked for it.

use std::{
    collections::VecDeque,
    fs,
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::{UnixListener, UnixStream},
    },
};

use super::{names, output::Spool};
use crate::{
    error::{Doing, RuntimeError},
    protocol::{Event, Request, to_line},
};

const CLIENTS_MAX: usize = 16;
const REQUEST_BYTES_MAX: usize = 1 << 20;
const BATCH_BYTES: usize = 64 * 1024;

pub(super) struct Clients {
    listener: UnixListener,
    clients: Vec<Client>,
    next_id: u64,
    attached: Option<u64>,
    /// Where in the attached client's `out` each spooled event ends.
    in_flight: VecDeque<usize>,
}

struct Client {
    id: u64,
    stream: UnixStream,
    input: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    is_gone: bool,
}

impl Clients {
    pub(super) fn listen() -> Result<Self, RuntimeError> {
        let _ = fs::remove_file(names::SOCKET);
        let listener =
            UnixListener::bind(names::SOCKET).doing(|| "listen for control".to_owned())?;
        listener.set_nonblocking(true).doing(|| "listen for control".to_owned())?;
        Ok(Self {
            listener,
            clients: Vec::new(),
            next_id: 0,
            attached: None,
            in_flight: VecDeque::new(),
        })
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Each connection and whether it waits to be written to.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.clients.iter().map(|client| (client.stream.as_fd(), !client.out.is_empty()))
    }

    pub(super) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() >= CLIENTS_MAX || stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.next_id += 1;
            self.clients.push(Client {
                id: self.next_id,
                stream,
                input: Vec::new(),
                out: Vec::new(),
                written: 0,
                is_gone: false,
            });
        }
    }

    /// Every whole request that has come, with the connection that it came on.
    pub(super) fn requests(&mut self) -> Vec<(u64, Request)> {
        let mut requests = Vec::new();
        for client in &mut self.clients {
            client.read();
            while let Some(end) = client.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = client.input.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(request) => requests.push((client.id, request)),
                    Err(error) => client.out.extend(to_line(&Event::Failed {
                        detail: format!("not a request: {error}"),
                        too_large: false,
                    })),
                }
            }
        }
        requests
    }

    pub(super) fn attach(&mut self, id: u64) {
        self.in_flight.clear();
        self.attached = Some(id);
    }

    pub(super) fn reply(&mut self, id: u64, event: &Event) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == id) {
            client.out.extend(to_line(event));
        }
    }

    /// How many events of the spool are being sent.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Writes as much as the connections take, and forgets those that are gone.
    pub(super) fn write(&mut self, spool: &mut Spool) {
        loop {
            self.load_batch(spool);
            let Self { clients, attached, in_flight, .. } = self;
            for client in clients.iter_mut() {
                client.write();
                if *attached == Some(client.id) {
                    let sent = in_flight.iter().take_while(|end| **end <= client.written).count();
                    in_flight.drain(..sent);
                    spool.sent(sent);
                    client.recycle(in_flight.is_empty());
                } else {
                    client.recycle(true);
                }
            }
            self.forget_gone();
            if !self.can_send_more(spool) {
                return;
            }
        }
    }

    fn can_send_more(&self, spool: &Spool) -> bool {
        let attached = self.clients.iter().find(|client| self.attached == Some(client.id));
        attached.is_some_and(|client| client.out.is_empty()) && !spool.is_empty()
    }

    fn load_batch(&mut self, spool: &mut Spool) {
        let Self { clients, attached, in_flight, .. } = self;
        let client = clients.iter_mut().find(|client| *attached == Some(client.id));
        let Some(client) = client.filter(|client| client.out.is_empty()) else { return };
        spool.tell_dropped(0);
        for event in spool.iter() {
            if client.out.len() >= BATCH_BYTES {
                break;
            }
            client.out.extend_from_slice(event);
            in_flight.push_back(client.out.len());
        }
    }

    fn forget_gone(&mut self) {
        if self.clients.iter().any(|client| client.is_gone && self.attached == Some(client.id)) {
            self.attached = None;
            self.in_flight.clear();
        }
        self.clients.retain(|client| !client.is_gone);
    }
}

impl Client {
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break self.is_gone = true,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break self.is_gone |= error.kind() != ErrorKind::WouldBlock,
            }
            if self.input.len() > REQUEST_BYTES_MAX {
                break self.is_gone = true;
            }
        }
    }

    fn write(&mut self) {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_gone |= error.kind() != ErrorKind::WouldBlock;
                    break;
                }
            }
        }
    }

    fn recycle(&mut self, may_clear: bool) {
        if may_clear && self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
    }
}
