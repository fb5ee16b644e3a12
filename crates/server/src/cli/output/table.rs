//! A table for people: numbers rounded per column and aligned at the right, units under the names.

use std::io::{self, Write};

use comfy_table::{CellAlignment, presets};
use serde_json::Value;

use super::{Cell, Column, Head, RowWriter};

/// Writes one table when all rows are known.
pub(super) struct Table<W> {
    out: W,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl<W: Write> Table<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, columns: Vec::new(), rows: Vec::new() }
    }
}

impl<W: Write> RowWriter for Table<W> {
    fn head(&mut self, head: &Head) -> io::Result<()> {
        self.columns.clone_from(&head.columns);
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> io::Result<()> {
        self.rows.push(cells.to_vec());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Vec<Value>, _: Value) -> io::Result<()> {
        let units = self.columns.iter().any(|column| !column.unit.is_empty());
        let names = self.columns.iter().map(|column| match units {
            true => format!("{}\n{}", column.name, column.unit),
            false => column.name.clone(),
        });
        let mut table = bare(names.collect());
        let decimals: Vec<_> = (0..self.columns.len()).map(|i| Decimals::of(&self.rows, i)).collect();
        for row in &self.rows {
            table.add_row(row.iter().zip(&decimals).map(|(cell, decimals)| {
                let text = decimals.write(cell);
                let alignment = match cell {
                    Cell::Number(_) | Cell::Integer(_) => CellAlignment::Right,
                    _ => CellAlignment::Left,
                };
                comfy_table::Cell::new(text).set_alignment(alignment)
            }));
        }
        writeln!(self.out, "{}", table.trim_fmt())?;
        self.out.flush()
    }
}

/// A table of texts, for answers that are no rows of a scan.
pub fn plain_table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = bare(header.iter().map(|name| (*name).to_owned()).collect());
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

fn bare(header: Vec<String>) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table
}

/// How many digits a column shows after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimals(usize);

impl Decimals {
    fn of(rows: &[Vec<Cell>], column: usize) -> Self {
        let numbers = || {
            rows.iter().filter_map(move |row| match row.get(column) {
                Some(Cell::Number(value)) => Some(*value),
                _ => None,
            })
        };
        let largest = numbers().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        Self(if numbers().all(|value| value.fract() == 0.0) || largest >= 1e6 {
            0
        } else if largest >= 1.0 {
            2
        } else {
            4
        })
    }

    fn write(self, cell: &Cell) -> String {
        match cell {
            Cell::Null => "-".to_owned(),
            // Rounding to zero would hide that it is none.
            Cell::Number(value) if *value != 0.0 && value.abs() < 0.5 * 10_f64.powi(-(self.0 as i32)) => {
                format!("{value:.1e}")
            }
            Cell::Number(value) if value.abs() >= 1e15 => format!("{value:.3e}"),
            Cell::Number(value) => format!("{value:.*}", self.0),
            Cell::Integer(value) => value.to_string(),
            Cell::Bool(value) => value.to_string(),
            Cell::Text(text) => text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""),
            Cell::Instant(at) => at.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn a_table_rounds_and_shows_no_control_characters() {
        let text = String::from_utf8(written(Format::Table)).unwrap();
        assert!(text.contains("USD"), "{text}");
        assert!(text.contains("0.3000") && !text.contains("0.30000000000000004"), "{text}");
        assert!(text.contains(r#"a "b", c\nd"#), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn decimals_follow_the_largest_number() {
        let column =
            |values: &[f64]| -> Vec<Vec<Cell>> { values.iter().map(|v| vec![Cell::Number(*v)]).collect() };
        assert_eq!(Decimals::of(&column(&[1.0, 2_500_000.0]), 0), Decimals(0));
        assert_eq!(Decimals::of(&column(&[1.5, 250.0]), 0), Decimals(2));
        assert_eq!(Decimals::of(&column(&[0.5, 0.25]), 0), Decimals(4));
        assert_eq!(Decimals(2).write(&Cell::Number(0.001)), "1.0e-3");
        assert_eq!(Decimals(2).write(&Cell::Number(1234.567)), "1234.57");
    }
}
