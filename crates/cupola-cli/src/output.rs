//! Writing to people: data on standard output, all else on standard error.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// A line for people, on standard error.
pub(crate) fn say(line: &str) {
    // Nobody reads it any more: nothing is lost.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The beginning of a line that somebody else ends.
pub(crate) fn say_beginning(text: &str) {
    let _ = write!(std::io::stderr(), "{text}");
}

/// A line of data, on standard output.
pub(crate) fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Rows in aligned columns under their heads.
pub(crate) fn print_table(heads: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    print(&line(&heads))?;
    rows.iter().try_for_each(|row| print(&line(row)))
}

/// Whether progress may be drawn.
pub(crate) fn is_interactive() -> bool {
    std::io::stderr().is_terminal()
}
