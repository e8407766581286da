//! Explanations.

use super::screen::Screen;
use super::time::relative;
use super::tone::Tone;
use crate::client::Explanation;
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
            .map(|it| format!(" ({})", relative(it, screen.now)));
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
