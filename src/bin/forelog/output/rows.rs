//! Answers of many rows, in each format, written as they come: a scan of millions of keys keeps no more than a
//! thousand rows in memory.
//!
//! A table has no lines and no borders. Every cell is a word of the shell's language, so a row can be copied behind
//! `put` as it stands. The last column is never padded or cut.

use unicode_width::UnicodeWidthStr;

use super::{Cell, Format, Output};
use crate::failure::Failure;

/// How many rows are aligned with each other.
const BLOCK_ROWS: usize = 1000;

/// A wider cell moves its row's other columns to the right instead of everybody's.
const WIDEST_COLUMN: usize = 56;

/// An answer of many rows that is being written.
pub struct Rows<'o> {
    out: &'o mut Output,
    columns: &'static [&'static str],
    block: Vec<Vec<String>>,
    widths: Vec<usize>,
    right: Vec<bool>,
    written: usize,
    /// True once the columns' names were written.
    named: bool,
}

impl<'o> Rows<'o> {
    pub(super) fn new(out: &'o mut Output, columns: &'static [&'static str]) -> Result<Rows<'o>, Failure> {
        match out.format {
            Format::Csv => out.csv_line(columns.iter().map(|name| name.as_bytes()))?,
            Format::Auto | Format::Table | Format::Plain | Format::Json | Format::Raw => {}
        }
        let widths = columns.iter().map(|name| name.width()).collect();
        let right = vec![false; columns.len()];
        Ok(Rows { out, columns, block: Vec::new(), widths, right, written: 0, named: false })
    }

    /// True once a table shows as many rows as it may. Further rows are not written.
    pub fn is_full(&self) -> bool {
        self.out.format == Format::Table && self.out.row_limit.is_some_and(|limit| self.written >= limit)
    }

    /// Writes one row: a cell for each column.
    pub fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Failure> {
        let hidden: Vec<Cell<'_>>;
        let cells = if self.out.redact {
            hidden = cells.iter().map(Cell::redacted).collect();
            &hidden
        } else {
            cells
        };
        self.written += 1;
        match self.out.format {
            Format::Json => self.out.json_line(self.columns, cells),
            Format::Csv => self.out.csv_line(cells.iter().map(Cell::to_bytes)),
            Format::Raw if cells.iter().all(|cell| matches!(cell, Cell::Bytes(_))) => {
                cells.iter().try_for_each(|cell| self.out.bytes(&cell.to_bytes()))
            }
            Format::Plain | Format::Raw => self.out.plain_line(cells),
            Format::Table | Format::Auto => {
                for (right, cell) in self.right.iter_mut().zip(cells) {
                    *right |= cell.is_number();
                }
                self.block.push(cells.iter().map(Cell::to_word).collect());
                if self.block.len() == BLOCK_ROWS { self.write_block() } else { Ok(()) }
            }
        }
    }

    /// Writes a line between rows of a table.
    pub fn heading(&mut self, text: &str) -> Result<(), Failure> {
        self.write_block()?;
        let line = self.out.bold(text);
        self.out.line(&line)
    }

    /// Hands on what was written so far, although more may come.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.write_block()?;
        self.out.flush()
    }

    /// Writes what is still kept back.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.write_block()
    }

    /// Writes the rows kept back, under the columns' names if these are the first ones.
    fn write_block(&mut self) -> Result<(), Failure> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        for row in &block {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width()).min(WIDEST_COLUMN);
            }
        }
        if !self.named {
            self.named = true;
            let names: Vec<String> = self.columns.iter().map(|name| (*name).to_owned()).collect();
            let line = self.aligned(&names);
            let line = self.out.bold(&line);
            self.out.line(&line)?;
        }
        block.iter().try_for_each(|row| {
            let line = self.aligned(row);
            self.out.line(&line)
        })
    }

    fn aligned(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (index, cell) in row.iter().enumerate() {
            let padding = " ".repeat(self.widths[index].saturating_sub(cell.width()));
            let last = index + 1 == row.len();
            if self.right[index] {
                line.push_str(&padding);
            }
            line.push_str(cell);
            if !self.right[index] && !last {
                line.push_str(&padding);
            }
            if !last {
                line.push_str("  ");
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}
