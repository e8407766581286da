//! Times as people say them.

use crate::client::Time;
use dalsegno_scheduler::{Span, Timestamp};

const DAY: Span = Span::from_mins(24 * 60);

/// `3m ago`, `in 2h 5m`, `now`; further away than a week the date.
pub(crate) fn relative(at: Time, now: Timestamp) -> String {
    let span = at.0 - now;
    let far = span.0.unsigned_abs() > 7 * DAY.0.unsigned_abs();
    match span.0 {
        _ if far => absolute(at),
        ..=-1_000_000 => format!("{} ago", whole(Span(-span.0))),
        1_000_000.. => format!("in {}", whole(span)),
        _ => "now".to_owned(),
    }
}

/// `2026-11-22 06:00 UTC`, with seconds if there are any.
pub(crate) fn absolute(at: Time) -> String {
    let at = at.0.to_chrono();
    let pattern = match at.timestamp() % 60 {
        0 => "%Y-%m-%d %H:%M UTC",
        _ => "%Y-%m-%d %H:%M:%S UTC",
    };
    at.format(pattern).to_string()
}

/// How long something took, or takes so far.
pub(crate) fn length(start: Option<Time>, end: Option<Time>, now: Timestamp) -> String {
    let Some(start) = start else {
        return String::new();
    };
    let end = end.map_or(now, |it| it.0);
    Span((end - start.0).0.max(0)).to_string()
}

/// Without fractions of a second.
pub(super) fn whole(span: Span) -> Span {
    Span(span.0 - span.0 % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::parse_rfc3339("2026-11-22T06:00:00Z").expect("valid");
        let texts = [-40, -1, 0, 1, 7_500, 86_400 * 3, 86_400 * 8]
            .map(|secs| relative(Time(now + Span::from_secs(secs)), now));
        insta::assert_snapshot!(
            texts.join(" | "),
            @"40s ago | 1s ago | now | in 1s | in 2h 5m | in 3d | 2026-11-30 06:00 UTC"
        );
    }
}
