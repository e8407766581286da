//! Explanations.

use super::screen::Screen;
use super::time::relative;
use super::tone::Tone;
use crate::client::{Explanation, Time};
use dalsegno_scheduler::Timestamp;
use std::fmt::Write as _;

/// Explanations, the ones about one thing together.
pub(crate) fn why(screen: &Screen, whys: &[Explanation]) -> String {
    let mut text = String::new();
    let mut subject = None;
    for why in whys {
        if subject != Some(&why.subject) {
            let _ = writeln!(text, "{}", Tone::Strong.paint(&why.subject));
            subject = Some(&why.subject);
        }
        let until = why
            .until
            .map(|it| format!(" · {}", change(why, it, screen.now)));
        let _ = writeln!(text, "  {}{}", why.text, until.unwrap_or_default());
        if let Some(cure) = &why.cure {
            let _ = writeln!(text, "  {} {cure}", Tone::Quiet.paint("→"));
        }
    }
    if text.is_empty() {
        text.push_str("nothing stands in the way, and nothing is on record\n");
    }
    text
}

/// When it changes by itself, and how: the text tells of another moment, when something began.
fn change(why: &Explanation, at: Time, now: Timestamp) -> String {
    let when = relative(at, now);
    let is_over = at.0 < now;
    match why.reason.as_ref().map(|it| it.code.as_str()) {
        Some("waiting_for") if is_over => format!("expired {when}"),
        Some("waiting_for") => format!("expires {when}"),
        // What a running task is told to wait for is its deadline.
        None if why.subject.contains(", task ") => format!("times out {when}"),
        _ => when,
    }
}
