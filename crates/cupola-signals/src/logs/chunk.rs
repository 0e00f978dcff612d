//! The format of one chunk: lines of one source in the order of their time, compressed.
//!
//! A chunk is one byte of version and a zlib stream. Version 1 of what is compressed: the time of
//! the first line as 8 bytes little endian, then per line
//!
//! - varint: microseconds since the line before (0 for the first),
//! - varint: number of its label. The next unused number introduces a new one: one byte of stream
//!   (0 out, 1 err), then source type and instance, each as varint length and bytes,
//! - varint length of the message, and its bytes.
//!
//! Chunks outlive the build that wrote them: a change needs a new version and keeps this reader.

use std::io::{Read, Write};

use cupola_domain::time::Timestamp;
use cupola_ports::logs::{LogLine, LogStream};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};

const VERSION: u8 = 1;

/// A chunk is sealed once it holds this much before compression.
pub(super) const SEAL_BYTES: usize = 64 << 10;

/// A damaged chunk must not fill the memory. The writer stays far below.
const INFLATED_BYTES_MAX: u64 = 256 << 20;

/// Encoded lines, ready to become a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first_at: i64,
    pub(super) last_at: i64,
    pub(super) lines: usize,
    /// Size before compression.
    pub(super) raw_bytes: usize,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("chunk format {0} is not known; it was written by a newer version of cupola")]
    UnknownVersion(u8),
    #[error("the chunk cannot be decompressed")]
    Compression(#[source] std::io::Error),
    #[error("the chunk ends early or is damaged at byte {0} of its content")]
    Damaged(usize),
}

/// Cuts lines, which must be in the order of their time, into chunks of about `SEAL_BYTES`.
pub(super) fn encode<'l>(lines: impl IntoIterator<Item = &'l LogLine>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut builder = Builder::default();
    for line in lines {
        builder.push(line);
        if builder.payload.len() >= SEAL_BYTES {
            chunks.push(std::mem::take(&mut builder).finish());
        }
    }
    if builder.lines > 0 {
        chunks.push(builder.finish());
    }
    chunks
}

/// The lines of a chunk.
pub(super) fn decode(source_id: &str, body: &[u8]) -> Result<Vec<LogLine>, ChunkError> {
    match body.split_first() {
        Some((&VERSION, compressed)) => decode_v1(source_id, &inflate(compressed)?),
        Some((&version, _)) => Err(ChunkError::UnknownVersion(version)),
        None => Err(ChunkError::Damaged(0)),
    }
}

#[derive(Default)]
struct Builder<'l> {
    payload: Vec<u8>,
    labels: Vec<Label<'l>>,
    label: usize,
    first_at: i64,
    last_at: i64,
    lines: usize,
}

type Label<'l> = (LogStream, &'l str, &'l str);

impl<'l> Builder<'l> {
    fn push(&mut self, line: &'l LogLine) {
        let at = line.at.micros();
        if self.lines == 0 {
            self.payload.reserve(SEAL_BYTES + 1024);
            self.payload.extend_from_slice(&at.to_le_bytes());
            (self.first_at, self.last_at) = (at, at);
        }
        put_varint(&mut self.payload, at.saturating_sub(self.last_at).max(0).unsigned_abs());
        self.put_label((line.stream, &line.source_type, &line.instance));
        put_bytes(&mut self.payload, &line.message);
        self.last_at = self.last_at.max(at);
        self.lines += 1;
    }

    fn put_label(&mut self, label: Label<'l>) {
        // Most lines have the label of the line before.
        if self.labels.get(self.label) != Some(&label) {
            let known = self.labels.iter().position(|known| *known == label);
            self.label = known.unwrap_or(self.labels.len());
        }
        put_varint(&mut self.payload, self.label as u64);
        if self.label == self.labels.len() {
            self.labels.push(label);
            self.payload.push(u8::from(label.0 == LogStream::Err));
            put_bytes(&mut self.payload, label.1.as_bytes());
            put_bytes(&mut self.payload, label.2.as_bytes());
        }
    }

    fn finish(self) -> Chunk {
        Chunk {
            first_at: self.first_at,
            last_at: self.last_at,
            lines: self.lines,
            raw_bytes: self.payload.len(),
            body: deflate(&self.payload),
        }
    }
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() / 3 + 16);
    out.push(VERSION);
    let mut encoder = ZlibEncoder::new(out, Compression::fast());
    encoder.write_all(payload).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, ChunkError> {
    let mut payload = Vec::with_capacity(SEAL_BYTES + 1024);
    ZlibDecoder::new(compressed)
        .take(INFLATED_BYTES_MAX)
        .read_to_end(&mut payload)
        .map_err(ChunkError::Compression)?;
    Ok(payload)
}

fn decode_v1(source_id: &str, payload: &[u8]) -> Result<Vec<LogLine>, ChunkError> {
    let mut input = Input { payload, at: 0 };
    let mut labels: Vec<(LogStream, String, String)> = Vec::new();
    let mut lines = Vec::new();
    let mut at = i64::from_le_bytes(input.array()?);
    while !input.is_at_end() {
        at = at.saturating_add(i64::try_from(input.varint()?).map_err(|_| input.damaged())?);
        let label = usize::try_from(input.varint()?).map_err(|_| input.damaged())?;
        if label == labels.len() {
            labels.push((input.stream()?, input.string()?, input.string()?));
        }
        let (stream, source_type, instance) =
            labels.get(label).cloned().ok_or_else(|| input.damaged())?;
        lines.push(LogLine {
            at: Timestamp::from_micros(at),
            source_id: source_id.to_owned(),
            source_type,
            instance,
            stream,
            message: input.bytes()?.to_vec(),
        });
    }
    Ok(lines)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// LEB128: seven bits per byte, the lowest first, the top bit set while more follow.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Input<'p> {
    payload: &'p [u8],
    at: usize,
}

impl<'p> Input<'p> {
    fn is_at_end(&self) -> bool {
        self.at == self.payload.len()
    }

    fn damaged(&self) -> ChunkError {
        ChunkError::Damaged(self.at)
    }

    fn take(&mut self, count: usize) -> Result<&'p [u8], ChunkError> {
        let rest = self.payload.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or_else(|| self.damaged())?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ChunkError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.damaged())
    }

    fn varint(&mut self) -> Result<u64, ChunkError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    fn bytes(&mut self) -> Result<&'p [u8], ChunkError> {
        let count = usize::try_from(self.varint()?).map_err(|_| self.damaged())?;
        self.take(count)
    }

    fn string(&mut self) -> Result<String, ChunkError> {
        let bytes = self.bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.damaged())
    }

    fn stream(&mut self) -> Result<LogStream, ChunkError> {
        match self.array()? {
            [0] => Ok(LogStream::Out),
            [1] => Ok(LogStream::Err),
            _ => Err(self.damaged()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(
        at: i64,
        source_type: &str,
        instance: &str,
        stream: LogStream,
        message: &[u8],
    ) -> LogLine {
        LogLine {
            at: Timestamp::from_micros(at),
            source_id: "app".to_owned(),
            source_type: source_type.to_owned(),
            instance: instance.to_owned(),
            stream,
            message: message.to_vec(),
        }
    }

    fn golden_lines() -> Vec<LogLine> {
        vec![
            line(1_795_510_800_000_000, "STG", "0", LogStream::Out, b"building"),
            line(1_795_510_800_000_001, "APP/PROC/WEB", "0", LogStream::Out, b"listening on 8080"),
            line(1_795_510_801_500_000, "APP/PROC/WEB", "1", LogStream::Err, b"\xff\x00 not text"),
            line(1_795_510_801_500_300, "APP/PROC/WEB", "0", LogStream::Out, b""),
        ]
    }

    /// The file was written by another program from the description above.
    #[test]
    fn chunk_of_version_1_is_still_read() {
        let golden = include_bytes!("../../tests/golden/chunk-v1.bin");

        let lines = decode("app", golden).unwrap();

        assert_eq!(lines, golden_lines());
    }

    #[test]
    fn version_1_is_still_written_in_the_same_way() {
        let golden = include_bytes!("../../tests/golden/chunk-v1.bin");

        let chunks = encode(&golden_lines());

        assert_eq!(inflate(&chunks[0].body[1..]).unwrap(), inflate(&golden[1..]).unwrap());
    }

    #[test]
    fn chunk_of_a_later_version_is_named_as_such() {
        let failure = decode("app", &[2, 0, 0]).unwrap_err();

        assert!(failure.to_string().contains("format 2 is not known"), "{failure}");
    }

    #[test]
    fn many_lines_are_cut_into_chunks_of_64_kib() {
        let lines: Vec<_> =
            (0..2_000).map(|at| line(at, "APP", "0", LogStream::Out, &[b'x'; 100])).collect();

        let chunks = encode(&lines);

        assert_eq!(chunks.len(), 4);
        assert!(chunks[..3].iter().all(|chunk| chunk.raw_bytes >= SEAL_BYTES));
        assert!(chunks.iter().all(|chunk| chunk.raw_bytes < SEAL_BYTES + 200));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_again(
            lines in prop::collection::vec(
                (0_i64..1 << 40, "[A-Z]{1,5}", "[0-9]{0,2}", any::<bool>(), any::<Vec<u8>>()),
                0..50,
            )
        ) {
            let mut lines: Vec<_> = lines
                .iter()
                .map(|(at, source_type, instance, err, message)| {
                    let stream = if *err { LogStream::Err } else { LogStream::Out };
                    line(*at, source_type, instance, stream, message)
                })
                .collect();
            lines.sort_by_key(|line| line.at);

            let decoded: Vec<_> = encode(&lines)
                .iter()
                .flat_map(|chunk| decode("app", &chunk.body).unwrap())
                .collect();

            prop_assert_eq!(decoded, lines);
        }

        #[test]
        fn damaged_content_is_an_error_and_never_a_panic(payload: Vec<u8>) {
            let _ = decode_v1("app", &payload);
        }
    }
}
