//! Small helpers for text that people see.

use dalsegno_scheduler::spec::Strategy;
use dalsegno_scheduler::{Span, Timestamp};
use std::fmt::Write as _;

/// For HTML and SVG text and attribute values.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// At most `max` characters, the last one an ellipsis when something was cut.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// One segment of a URL's path, or one query value.
pub(crate) fn url_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// A size: `512 B`, `2.7 KiB`, `1.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        match unit {
            "B" if count < 1024 => return format!("{count} B"),
            _ if size < 1023.95 => return format!("{size:.1} {unit}"),
            _ => size /= 1024.0,
        }
    }
    format!("{size:.1} TiB")
}

/// How far an instant is from now, as a person says it: `in 5m 3s`, `2h 5m ago`, `now`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let Span(us) = at - now;
    let rounded = Span::from_secs(us.abs() / 1_000_000);
    match us {
        _ if rounded == Span::ZERO => "now".into(),
        us if us > 0 => format!("in {rounded}"),
        _ => format!("{rounded} ago"),
    }
}

/// An instant as it is written on pages: `2026-11-22 06:00:00`, UTC.
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_chrono().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A run strategy as flow files write it.
pub(crate) fn strategy(strategy: Strategy) -> String {
    match strategy {
        Strategy::Sequential => "sequential".into(),
        Strategy::StrictSequential => "strict_sequential".into(),
        Strategy::FirstOnly => "first_only".into(),
        Strategy::LastOnly => "last_only".into(),
        Strategy::Parallel(most) => format!("parallel: {most}"),
        Strategy::SerialLatestOnly => "serial_latest_only".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_people_wrote_cannot_become_markup() {
        assert_eq!(
            escape(r#"<a href="x">'&"#),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"
        );
    }

    #[test]
    fn long_names_are_cut_with_an_ellipsis() {
        assert_eq!(shorten("überlang", 5), "über…");
        assert_eq!(shorten("kurz", 5), "kurz");
    }

    #[test]
    fn task_names_fit_into_addresses() {
        assert_eq!(url_encode("train[3.0]@2"), "train%5B3.0%5D%402");
    }

    #[test]
    fn instants_are_told_from_now() {
        let now = Timestamp::from_secs(1_000);
        let at = |secs| relative(Timestamp::from_secs(secs), now);
        assert_eq!(
            (at(1_000), at(1_065), at(910)),
            ("now".into(), "in 1m 5s".into(), "1m 30s ago".into())
        );
    }
}
