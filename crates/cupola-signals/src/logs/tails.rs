//! Live readers of one source. A slow one loses lines and is told how many, and slows nobody down.

use cupola_ports::logs::{LogLine, Tail};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Lines that may wait for one reader.
const WAITING_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Tails(Vec<Reader>);

struct Reader {
    sender: mpsc::Sender<Tail>,
    lost: u64,
}

impl Tails {
    pub(super) fn add(&mut self) -> mpsc::Receiver<Tail> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        self.0.push(Reader { sender, lost: 0 });
        receiver
    }

    pub(super) fn send(&mut self, line: &LogLine) {
        if !self.0.is_empty() {
            self.0.retain_mut(|reader| reader.send(line));
        }
    }

    /// Tells readers that made room what they lost, and lets go of those that went away.
    pub(super) fn settle(&mut self) {
        self.0.retain_mut(Reader::tell_lost);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Reader {
    /// Whether the reader is still there.
    fn send(&mut self, line: &LogLine) -> bool {
        let is_there = self.tell_lost();
        if self.lost > 0 || self.sender.capacity() == 0 {
            self.lost += 1;
            return is_there;
        }
        !matches!(self.sender.try_send(Tail::Line(line.clone())), Err(TrySendError::Closed(_)))
    }

    fn tell_lost(&mut self) -> bool {
        if self.lost > 0 && self.sender.try_send(Tail::Lost(self.lost)).is_ok() {
            self.lost = 0;
        }
        !self.sender.is_closed()
    }
}
