//! Small pieces that every page uses.

use crate::text::{clock, escape, relative};
use dalsegno_scheduler::{RunId, Span, Timestamp};
use std::fmt;

/// Markup that is safe to show as it is: every value in it was escaped when it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Html(pub(crate) String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl askama::filters::HtmlSafe for Html {}

impl Html {
    /// Plain text.
    pub(crate) fn text(text: impl fmt::Display) -> Self {
        Self(escape(&text.to_string()))
    }
    pub(crate) fn link(href: &str, text: impl fmt::Display) -> Self {
        let text = escape(&text.to_string());
        Self(format!(r#"<a href="{}">{text}</a>"#, escape(href)))
    }
    pub(crate) fn then(self, more: &Self) -> Self {
        Self(self.0 + &more.0)
    }
}

/// A state: icon, colour and word.
pub(crate) fn state(word: &str) -> Html {
    sized_state(word, "state")
}

/// A state as the head of a page shows it.
pub(crate) fn big_state(word: &str) -> Html {
    sized_state(word, "state big")
}

fn sized_state(word: &str, class: &str) -> Html {
    let told = word.replace('_', " ");
    Html(format!(
        r##"<span class="{class} s-{word}"><svg viewBox="0 0 24 24" width="15" height="15" aria-hidden="true"><use href="#i-{word}"/></svg>{told}</span>"##
    ))
}

/// A sign with words of one's own.
pub(crate) fn signed(sign: &str, text: &str) -> Html {
    let text = escape(text);
    Html(format!(
        r##"<span class="state s-{sign}"><svg viewBox="0 0 24 24" width="15" height="15" aria-hidden="true"><use href="#i-{sign}"/></svg>{text}</span>"##
    ))
}

pub(crate) fn badge(state: &str, text: &str, title: &str) -> Html {
    let (text, title) = (escape(text), escape(title));
    Html(format!(
        r#"<span class="badge s-{state}" title="{title}">{text}</span>"#
    ))
}

/// Text that is to be copied: shown whole or in short, with a button where scripts run.
pub(crate) fn copy(shown: &str, copied: &str) -> Html {
    let (shown, copied) = (escape(shown), escape(copied));
    Html(format!(
        r##"<span class="copy"><code>{shown}</code><button type="button" class="icon" data-copy="{copied}" title="Copy" aria-label="Copy"><svg viewBox="0 0 24 24" width="15" height="15" aria-hidden="true"><use href="#copy"/></svg></button></span>"##
    ))
}

/// A decorator as a chip: its name, and what is in its brackets in full on pointing at it.
pub(crate) fn chip(decorator: &str) -> Html {
    let (name, rest) = decorator.split_at(decorator.find('(').unwrap_or(decorator.len()));
    let kind = match name.trim_start_matches('@') {
        "retry" | "catch" | "timeout" | "checkpoint" => "guard",
        "resources" | "batch" | "kubernetes" | "parallel" | "gpu_profile" => "place",
        "environment" | "secrets" | "conda" | "pypi" | "uv" => "world",
        _ => "other",
    };
    let inside = rest.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
    let short = crate::text::shorten(inside.unwrap_or(rest), 48);
    let values = match short.as_str() {
        "" => String::new(),
        short => format!("<span>{}</span>", escape(short)),
    };
    Html(format!(
        r#"<span class="chip {kind}" title="{}">{}{values}</span>"#,
        escape(decorator),
        escape(name)
    ))
}

/// An instant told from now; the exact time on pointing at it. Scripts keep it ticking.
pub(crate) fn told(at: Timestamp, now: Timestamp) -> Html {
    Html(format!(
        r#"<time datetime="{at}" title="{} UTC" data-rel>{}</time>"#,
        clock(at),
        relative(at, now)
    ))
}

/// An instant as a date and time.
pub(crate) fn exact(at: Timestamp) -> Html {
    Html(format!(r#"<time datetime="{at}">{}</time>"#, clock(at)))
}

/// Both.
pub(crate) fn exact_and_told(at: Timestamp, now: Timestamp) -> Html {
    let told = told(at, now);
    Html(format!(r#"{} <span class="soft">{told}</span>"#, exact(at)))
}

/// How long something took, or has taken so far (which ticks).
pub(crate) fn took(from: Timestamp, until: Option<Timestamp>, now: Timestamp) -> Html {
    match until {
        Some(until) => Html::text((until - from).max(Span::ZERO)),
        None => {
            let Span(us) = now - from;
            let so_far = Span::from_secs(us.max(0) / 1_000_000);
            Html(format!(
                r#"<time datetime="{from}" data-since>{so_far}</time>"#
            ))
        }
    }
}

pub(crate) fn run_link(run: RunId) -> Html {
    Html::link(&format!("/runs/{run}"), format_args!("run {run}"))
}

/// A name and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: Html,
}

pub(crate) fn fact(name: &str, value: Html) -> Fact {
    Fact {
        name: name.to_owned(),
        value,
    }
}

/// A choice of what a list shows.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) label: String,
    pub(crate) href: String,
    pub(crate) here: bool,
}

/// What went wrong with a form that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) title: String,
    pub(crate) text: String,
}

/// One line of a *why* panel.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) until: Option<Html>,
    pub(crate) cure: Option<String>,
}

/// One line of a list of runs.
#[derive(Clone, Debug)]
pub(crate) struct RunLine {
    pub(crate) id: RunId,
    pub(crate) href: String,
    pub(crate) flow: String,
    pub(crate) flow_href: String,
    pub(crate) state: Html,
    pub(crate) trigger: Html,
    pub(crate) created: Html,
    pub(crate) waited: Html,
    pub(crate) ran: Html,
    pub(crate) reason: String,
}
