// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables for people, printed row by row as the numbers come: text to the left, numbers to the right.

/// Width of the first column, which is text.
const TEXT_WIDTH: usize = 24;
/// Least width of the others.
const NUMBER_WIDTH: usize = 7;

/// A table whose head has been printed.
#[derive(Debug)]
pub struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// Prints the heads of the columns.
    pub fn new(heads: &[&str]) -> Self {
        let numbers = heads.iter().skip(1).map(|head| head.chars().count().max(NUMBER_WIDTH));
        let table = Self { widths: std::iter::once(TEXT_WIDTH).chain(numbers).collect() };
        table.row(heads.iter().map(ToString::to_string));
        table
    }

    /// Prints a row.
    pub fn row(&self, cells: impl IntoIterator<Item = String>) {
        println!("{}", self.line(cells));
    }

    fn line(&self, cells: impl IntoIterator<Item = String>) -> String {
        let cells = cells.into_iter().zip(&self.widths).enumerate();
        let padded: Vec<String> = cells
            .map(|(column, (cell, &width))| match column {
                0 => format!("  {cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            })
            .collect();
        padded.concat().trim_end().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_each_other() {
        let table = Table::new(&["what", "ms"]);
        let lines = [["a", "1.5"], ["longer", "100.0"]];
        let [short, long] = lines.map(|cells| table.line(cells.map(ToString::to_string)));
        assert_eq!(short, format!("  {:24}  {:>7}", "a", "1.5"));
        assert_eq!(short.len(), long.len());
    }
}
