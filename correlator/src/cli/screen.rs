//! The terminal as a value: how wide it is, and whether it shows colours.

use std::io::IsTerminal as _;

use comfy_table::Table;

/// Everything is drawn to fit this, and no wider than [`WIDTH_MAX`], past which lines are hard to
/// follow.
const WIDTH_MIN: usize = 80;
const WIDTH_MAX: usize = 140;
/// Where nobody says how wide: a file or a pipe.
const WIDTH_UNKNOWN: usize = 120;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) width: usize,
    pub(super) has_colour: bool,
}

/// What a piece of text wants to say by its looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Strong,
    Faint,
    Good,
    Doubtful,
    Bad,
}

impl Screen {
    /// Standard output of this process.
    pub(super) fn of_stdout() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let asked = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let measured = || console::Term::stdout().size_checked().map(|(_, columns)| columns.into());
        let width: usize = columns.or_else(measured).unwrap_or(WIDTH_UNKNOWN);
        Self {
            width: width.clamp(WIDTH_MIN, WIDTH_MAX),
            has_colour: is_terminal && !is_dumb && !asked("NO_COLOR"),
        }
    }

    /// The lines of a table, its header strong. Cells hold no colours: they would count as text.
    pub(super) fn print_table(self, table: &Table) -> String {
        let mut printed = String::new();
        for (n, line) in table.lines().enumerate() {
            let look = if n == 0 { Look::Strong } else { Look::Plain };
            printed.push_str(&self.paint(look, line.trim_end()));
            printed.push('\n');
        }
        printed
    }

    pub(super) fn paint(self, look: Look, text: &str) -> String {
        let code = match look {
            Look::Strong => "1",
            Look::Faint => "2",
            Look::Good => "32",
            Look::Doubtful => "33",
            Look::Bad => "31",
            Look::Plain => return text.to_owned(),
        };
        if !self.has_colour || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_the_text_is_all_there_is() {
        let plain = Screen { width: 80, has_colour: false };
        assert_eq!(plain.paint(Look::Bad, "502"), "502");
        let coloured = Screen { has_colour: true, ..plain };
        assert_eq!(coloured.paint(Look::Bad, "502"), "\x1b[31m502\x1b[0m");
        assert_eq!(coloured.paint(Look::Plain, "502"), "502");
    }
}
