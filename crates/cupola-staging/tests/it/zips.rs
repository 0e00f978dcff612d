//! Zip files made by hand, so that they can be as wrong as an attacker makes them.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const FOLDER: u32 = 0o040_000;

#[derive(Clone, Default)]
pub(crate) struct Zip {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    name: String,
    mode: u32,
    content: Vec<u8>,
    bytes_declared: u32,
}

impl Zip {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.file_with_mode(name, text, 0o644)
    }

    pub(crate) fn file_with_mode(self, name: &str, text: &str, mode: u32) -> Self {
        self.entry(name, FILE | mode, text)
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(name, LINK | 0o777, target)
    }

    pub(crate) fn folder(self, name: &str, mode: u32) -> Self {
        self.entry(name, FOLDER | mode, "")
    }

    /// An entry with any type and permissions.
    pub(crate) fn entry(mut self, name: &str, mode: u32, content: &str) -> Self {
        self.entries.push(Entry {
            name: name.to_owned(),
            mode,
            content: content.as_bytes().to_vec(),
            bytes_declared: content.len() as u32,
        });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = bytes.len() as u32;
            bytes.extend(b"PK\x03\x04");
            bytes.extend(entry.common_header());
            bytes.extend(entry.name.as_bytes());
            bytes.extend(&entry.content);

            directory.extend(b"PK\x01\x02");
            directory.extend([20, 3]);
            directory.extend(entry.common_header());
            directory.extend([0; 6]);
            directory.extend((entry.mode << 16).to_le_bytes());
            directory.extend(offset.to_le_bytes());
            directory.extend(entry.name.as_bytes());
        }
        let start = bytes.len() as u32;
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend((self.entries.len() as u16).to_le_bytes());
        bytes.extend((self.entries.len() as u16).to_le_bytes());
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }
}

impl Entry {
    /// From the version that is needed to the length of extra fields.
    fn common_header(&self) -> Vec<u8> {
        let mut header = vec![20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
        header.extend(crc32(&self.content).to_le_bytes());
        header.extend((self.content.len() as u32).to_le_bytes());
        header.extend(self.bytes_declared.to_le_bytes());
        header.extend((self.name.len() as u16).to_le_bytes());
        header.extend([0; 2]);
        header
    }
}

/// A small zip of one large file of zeros.
pub(crate) fn bomb(mib: usize) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file("zeros", options).unwrap();
    let block = vec![0; 1 << 20];
    for _ in 0..mib {
        zip.write_all(&block).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}
