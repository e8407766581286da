//! What a state looks like: a sign and a colour, so that neither is needed to understand the other.

use clap::builder::styling::{AnsiColor, Effects, Style};
use comfy_table::{Attribute, Cell, Color};

/// How something is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warn,
    Live,
    Quiet,
    Strong,
    Plain,
}

impl Tone {
    /// Of a state of a run, task, flow, occurrence or match.
    pub(crate) fn of(state: &str) -> Self {
        match state {
            "succeeded" | "ran" | "fired" => Self::Good,
            "failed" | "timed_out" | "invalid" => Self::Bad,
            "caught" | "cancelled" | "cancelling" | "stopping" | "backing_off" | "missed"
            | "paused" | "expired" | "refused" => Self::Warn,
            "running" | "submitting" => Self::Live,
            "skipped" | "coalesced" | "removed" | "filtered" | "replaced" | "waiting" => {
                Self::Quiet
            }
            _ => Self::Plain,
        }
    }

    pub(crate) fn paint(self, text: &str) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }

    pub(crate) fn cell(self, text: impl Into<String>) -> Cell {
        let cell = Cell::new_owned(text.into());
        match self {
            // Signs for a colour around nothing would look like spaces.
            _ if cell.content().is_empty() => cell,
            Self::Good => cell.fg(Color::DarkGreen),
            Self::Bad => cell.fg(Color::DarkRed),
            Self::Warn => cell.fg(Color::DarkYellow),
            Self::Live => cell.fg(Color::DarkCyan),
            Self::Quiet => cell.add_attribute(Attribute::Dim),
            Self::Strong => cell.add_attribute(Attribute::Bold),
            Self::Plain => cell,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Live => AnsiColor::Cyan.on_default(),
            Self::Quiet => Style::new().effects(Effects::DIMMED),
            Self::Strong => Style::new().effects(Effects::BOLD),
            Self::Plain => Style::new(),
        }
    }
}

/// A sign for a state, one character wide.
pub(crate) fn sign(state: &str) -> &'static str {
    match state {
        "succeeded" | "ran" | "fired" => "✓",
        "failed" | "timed_out" => "✗",
        "caught" => "!",
        "cancelled" | "cancelling" | "stopping" => "⊘",
        "running" | "submitting" => "▶",
        "backing_off" => "↻",
        "skipped" => "–",
        _ => "○",
    }
}

/// A state as people read it: `timed out`.
pub(crate) fn words(state: &str) -> String {
    state.replace('_', " ")
}

/// A state in its colour.
pub(crate) fn state(state: &str) -> String {
    Tone::of(state).paint(&words(state))
}

/// What a reason says beyond its state: `by cli` of `cancelled by cli`.
pub(crate) fn rest<'a>(state: &str, reason: &'a str) -> Option<&'a str> {
    reason
        .strip_prefix(words(state).as_str())?
        .strip_prefix(' ')
}
