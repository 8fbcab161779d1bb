//! Tables: columns as wide as their content, never cut, colour laid over the finished text.

use comfy_table::{ContentArrangement, Table as Grid, presets};

/// What a cell says about its thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
    Bold,
}

/// A text and its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone; an empty text shows as `-`.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        let text: String = text.into();
        // A table's row is one line, whatever a label or an error held.
        let text = text.replace(['\n', '\r', '\t', '\x1b'], " ");
        Self {
            text: if text.is_empty() { "-".into() } else { text },
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// Rows under headings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            headings: headings.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it should have a cell for each heading.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, or this sentence where it has no row.
    pub(crate) fn or_none(&self, color: bool, none: &str) -> String {
        match self.is_empty() {
            true => format!("{none}\n"),
            false => self.render(color),
        }
    }

    /// The table as text with a final line feed.
    pub(crate) fn render(&self, color: bool) -> String {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(&self.headings);
        for row in &self.rows {
            grid.add_row(row.iter().map(|cell| cell.text.as_str()));
        }
        for column in grid.column_iter_mut() {
            column.set_padding((0, 3));
        }
        let widths: Vec<usize> = grid
            .column_max_content_widths()
            .into_iter()
            .map(|w| usize::from(w) + 3)
            .collect();
        let mut text = String::new();
        for (i, line) in grid.lines().enumerate() {
            let tones: Vec<Tone> = match i.checked_sub(1).and_then(|row| self.rows.get(row)) {
                Some(row) => row.iter().map(|cell| cell.tone).collect(),
                None => vec![Tone::Dim; self.headings.len()],
            };
            text.push_str(paint_line(line.trim_end(), &widths, &tones, color).trim_end());
            text.push('\n');
        }
        text
    }
}

/// Paints the cells of one finished line, found by the widths of their columns.
fn paint_line(line: &str, widths: &[usize], tones: &[Tone], color: bool) -> String {
    if !color {
        return line.to_owned();
    }
    let mut chars = line.chars();
    let mut painted = String::new();
    for (width, tone) in widths.iter().zip(tones) {
        let field: String = chars.by_ref().take(*width).collect();
        let content = field.trim_end();
        painted.push_str(&paint(content, *tone, true));
        painted.push_str(&field[content.len()..]);
    }
    painted.extend(chars);
    painted
}

/// Wraps text in the escape sequences of its tone.
pub(crate) fn paint(text: &str, tone: Tone, color: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31;1",
        Tone::Dim => "2",
        Tone::Bold => "1",
    };
    match color && !text.is_empty() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "ADDRESS"]);
        table.row(vec![
            "shop".into(),
            Cell::toned("ready", Tone::Good),
            "10.0.0.1:80".into(),
        ]);
        table.row(vec![
            "a-much-longer-name-than-any-terminal-would-like-to-show-in-one-line-of-eighty".into(),
            Cell::toned("unhealthy", Tone::Bad),
            "".into(),
        ]);
        table
    }

    #[test]
    fn columns_are_aligned_and_nothing_is_cut() {
        let text = sample().render(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let at = lines[0].find("STATE").unwrap();
        assert_eq!(lines[1].find("ready"), Some(at));
        assert_eq!(lines[2].find("unhealthy"), Some(at));
        assert!(lines[2].contains("one-line-of-eighty"));
        assert!(lines[2].ends_with('-'), "an empty cell shows as a dash");
        assert!(
            lines.iter().all(|line| line.trim_end() == *line),
            "no trailing spaces"
        );
    }

    #[test]
    fn colour_changes_no_column() {
        let strip = |text: String| {
            let mut plain = text;
            for code in ["\x1b[0m", "\x1b[32m", "\x1b[31;1m", "\x1b[2m"] {
                plain = plain.replace(code, "");
            }
            plain
        };
        let painted = sample().render(true);
        assert!(painted.contains("\x1b[32mready\x1b[0m"));
        assert_eq!(strip(painted), sample().render(false));
    }

    #[test]
    fn a_cell_cannot_break_a_row_or_send_an_escape() {
        let mut table = Table::new(&["A"]);
        table.row(vec!["x\ny\x1b[31m".into()]);
        assert_eq!(table.render(false), "A\nx y [31m\n");
    }
}
