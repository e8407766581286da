//! Times as people type them.

use crate::client::{Exit, Failure, Result};
use dalsegno_scheduler::{Span, Timestamp};

/// An option's time, as the API takes it: RFC 3339, a day (its beginning in UTC), or how long ago, such as `7d`.
pub(super) fn given(option: &str, text: Option<&str>) -> Result<Option<String>> {
    text.map(|it| one(option, it)).transpose()
}

/// As [`given`], of an option that has to be there.
pub(super) fn one(option: &str, text: &str) -> Result<String> {
    let now = Timestamp::from_chrono(std::time::SystemTime::now().into());
    match read(text, now) {
        Some(at) => Ok(at.to_string()),
        None => {
            let text = format!("`{option} {text}` is not a time");
            Err(Failure::new(Exit::Usage, text)
                .help("write 2026-11-22T06:00:00Z, 2026-11-22, or how long ago: 90m, 12h, 7d"))
        }
    }
}

/// An option's length of time in seconds: `30m`, `2h`, `1d`.
pub(super) fn length(option: &str, text: &str) -> Result<i64> {
    seconds(text.trim()).filter(|it| *it > 0).ok_or_else(|| {
        let text = format!("`{option} {text}` is not a length of time");
        Failure::new(Exit::Usage, text).help("write 90s, 30m, 2h, 1d or 1w")
    })
}

fn read(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Some(at);
    }
    if let Some(at) = Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z")) {
        return Some(at);
    }
    Some(now - Span::from_secs(seconds(text)?))
}

fn seconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let number: i64 = number
        .parse()
        .ok()
        .filter(|it| (0..=100_000).contains(it))?;
    Some(number * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_instants_days_or_how_long_ago() {
        let now = Timestamp::parse_rfc3339("2026-11-22T06:00:00Z").expect("valid");
        let told = ["2026-11-01T06:00:00+01:00", "2026-11-01", "7d", "90m", "0s"]
            .map(|it| read(it, now).expect("a time").to_string());
        insta::assert_snapshot!(
            told.join(" | "),
            @"2026-11-01T05:00:00Z | 2026-11-01T00:00:00Z | 2026-11-15T06:00:00Z | 2026-11-22T04:30:00Z | 2026-11-22T06:00:00Z"
        );
        for text in [
            "",
            "d",
            "-1d",
            "7y",
            "yesterday",
            "2026-13-01",
            "ü",
            "99999999999d",
        ] {
            assert_eq!(read(text, now), None, "{text}");
        }
    }
}
