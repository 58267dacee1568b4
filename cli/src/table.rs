//! Tables for people: a header, columns two spaces apart, no lines, at most 100 columns wide.

use crate::plain::plain;
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};

/// The width that every table keeps to: two windows side by side on a common screen.
const WIDTH: u16 = 100;

/// Between two columns.
const PADDING: u16 = 2;
/// A UUID with its hyphens.
const ID_CHARACTERS: u16 = 36;

/// What stands in a column.
#[derive(Debug, Clone, Copy)]
enum Column {
    Ids,
    Prose,
}

fn is_id(text: &str) -> bool {
    text.len() == usize::from(ID_CHARACTERS) && text.matches('-').count() == 4 && !text.contains(' ')
}

/// A table, ending in a newline; `none` where there is no row.
#[must_use]
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header.map(Cell::new));
    let mut named = header.map(|_| Column::Prose);
    for row in &rows {
        for (column, text) in named.iter_mut().zip(row) {
            if is_id(text) {
                *column = Column::Ids;
            }
        }
    }
    for row in rows {
        table.add_row(row.map(|text| Cell::new(plain(&text))));
    }
    for (column, named) in table.column_iter_mut().zip(named) {
        column.set_padding((0, PADDING));
        match named {
            // An id that is broken over two lines cannot be copied.
            Column::Ids => {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(ID_CHARACTERS + PADDING)));
            }
            Column::Prose => {}
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Facts about one thing, each under its name: `name     value`.
#[must_use]
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    facts.iter().map(|(name, value)| format!("{name:<width$}  {}\n", plain(value))).collect()
}

/// A value that may be missing: `-` in a table.
#[must_use]
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A count with its noun: `1 host`, `2 hosts`.
#[must_use]
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_header_and_rows_without_decoration() {
        let rows = vec![["web-1".to_owned(), "active".to_owned()], ["b".to_owned(), "x\u{7}".to_owned()]];
        assert_eq!(table(["NAME", "STATE"], rows, "no hosts"), "NAME   STATE\nweb-1  active\nb      x\u{fffd}\n");
        assert_eq!(table(["NAME"], Vec::new(), "no hosts"), "no hosts\n");
    }

    #[test]
    fn a_table_stays_within_a_hundred_columns() {
        let rows = vec![["word ".repeat(60), "other ".repeat(40)]];
        let text = table(["A", "B"], rows, "");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert_eq!(text.matches("word").count(), 60);
    }

    #[test]
    fn an_id_is_never_broken_over_two_lines() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let long = "a-rather-long-name.of-something-else".to_owned();
        let text = table(["HOST", "PLAYBOOK", "RUN"], vec![[long.clone(), long, id.to_owned()]], "");
        assert!(text.contains(id), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}
