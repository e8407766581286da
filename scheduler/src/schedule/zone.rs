//! IANA time zones by name, with a suggestion when the name is unknown.

use super::error::ScheduleError;
use chrono_tz::{TZ_VARIANTS, Tz};

/// Reads the name of an IANA time zone.
///
/// # Errors
/// When the database compiled into the binary has no zone of exactly this name; zones differ in
/// case (`Europe/Berlin`, not `europe/berlin`), and the error suggests the nearest one.
pub fn parse_time_zone(name: &str) -> Result<Tz, ScheduleError> {
    name.parse().map_err(|_| ScheduleError::TimeZone {
        name: shorten(name, 60),
        suggestion: suggest(name),
    })
}

/// The first characters of a text that may be anything, for an error message.
pub(super) fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max).chain("…".chars()).collect()
}

fn suggest(name: &str) -> Option<&'static str> {
    let wanted = name.trim().to_ascii_lowercase().replace(' ', "_");
    if wanted.is_empty() || wanted.len() > 60 {
        return None;
    }
    let zones = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let exact = zones().find(|zone| zone.to_ascii_lowercase() == wanted);
    let city = || zones().find(|zone| city_of(zone) == city_of(&wanted));
    // A typo: at most two wrong characters, in the whole name or in the city alone.
    let typo = || {
        zones()
            .map(|zone| {
                let whole = distance(&zone.to_ascii_lowercase(), &wanted);
                let city = distance(&city_of(zone), &wanted);
                (whole.min(city), zone)
            })
            .min()
            .filter(|(wrong, _)| *wrong <= 2 && *wrong * 3 < wanted.len())
            .map(|(_, zone)| zone)
    };
    exact.or_else(city).or_else(typo)
}

fn city_of(zone: &str) -> String {
    zone.rsplit('/').next().unwrap_or(zone).to_ascii_lowercase()
}

/// Edit distance (Levenshtein), one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_time_zone_suggests_the_nearest() {
        let cases = [
            ("berlin", Some("Europe/Berlin")),
            ("europe/berlin", Some("Europe/Berlin")),
            ("Europe/Berln", Some("Europe/Berlin")),
            ("New York", Some("America/New_York")),
            ("US/New_York", Some("America/New_York")),
            ("utc", Some("UTC")),
            ("Lord_how", Some("Australia/Lord_Howe")),
            ("", None),
            ("+02:00", None),
            ("nowhere at all", None),
        ];
        for (name, suggestion) in cases {
            assert_eq!(suggest(name), suggestion, "{name}");
        }
        assert_eq!(
            parse_time_zone("berlin")
                .expect_err("no such zone")
                .to_string(),
            "unknown time zone \"berlin\", expected a name of the IANA database such as \
             \"Europe/Berlin\" or \"UTC\"; did you mean \"Europe/Berlin\"?"
        );
    }
}
