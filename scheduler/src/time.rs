//! Time as the core sees it: whole microseconds, handed in from outside.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};

/// An instant: microseconds since the Unix epoch, UTC. Both databases store the same number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A length of time in microseconds. Negative only as the difference of two instants.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Span(pub i64);

impl Timestamp {
    /// Later than every instant that can be written as a calendar date.
    pub const MAX: Self = Self(i64::MAX);

    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000_000)
    }

    /// The first whole second at or after it, for prose about what is to come.
    pub const fn ceil_to_second(self) -> Self {
        Self(self.0.saturating_add(999_999)).floor_to_second()
    }

    /// The whole second it is in, for prose.
    pub const fn floor_to_second(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1_000_000))
    }

    /// The same instant as chrono sees it; instants outside chrono's calendar are clamped to the epoch.
    pub fn to_chrono(self) -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::from_timestamp_micros(self.0).unwrap_or_default()
    }

    pub fn from_chrono(at: chrono::DateTime<chrono::Utc>) -> Self {
        Self(at.timestamp_micros())
    }

    /// Reads RFC 3339, as in CloudEvents and in our own API.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        chrono::DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|at| Self(at.timestamp_micros()))
    }
}

impl Span {
    pub const ZERO: Self = Self(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000)
    }
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000_000)
    }
    pub const fn from_mins(mins: i64) -> Self {
        Self(mins * 60_000_000)
    }
    pub const fn as_micros(self) -> i64 {
        self.0
    }
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Sub for Timestamp {
    type Output = Span;
    fn sub(self, other: Self) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

/// RFC 3339 in UTC with as many fractional digits as are needed: `2026-11-22T06:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self
            .to_chrono()
            .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        f.write_str(&text)
    }
}

/// The two largest units, as a person says it: `2h 5m`, `1.5s`, `12ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let (secs, mins, hours, days) = (
            us / 1_000_000,
            us / 60_000_000,
            us / 3_600_000_000,
            us / 86_400_000_000,
        );
        match () {
            () if us == 0 => write!(f, "0s"),
            () if us < 1_000 => write!(f, "{us}us"),
            () if us < 1_000_000 => write!(f, "{}ms", us / 1_000),
            () if secs < 60 && us % 1_000_000 >= 100_000 => {
                write!(f, "{}.{}s", secs, us % 1_000_000 / 100_000)
            }
            () if secs < 60 => write!(f, "{secs}s"),
            () if mins < 60 => two(f, mins, "m", secs % 60, "s"),
            () if hours < 24 => two(f, hours, "h", mins % 60, "m"),
            () => two(f, days, "d", hours % 24, "h"),
        }
    }
}

fn two(f: &mut fmt::Formatter<'_>, a: u64, unit_a: &str, b: u64, unit_b: &str) -> fmt::Result {
    if b == 0 {
        write!(f, "{a}{unit_a}")
    } else {
        write!(f, "{a}{unit_a} {b}{unit_b}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_a_person_says_them() {
        let texts = [
            Span(0),
            Span(12),
            Span::from_millis(12),
            Span::from_millis(1_500),
            Span::from_secs(59),
            Span::from_secs(125),
            Span::from_mins(125),
            Span::from_mins(60 * 49),
            Span::from_secs(-90),
        ]
        .map(|span| span.to_string());
        assert_eq!(
            texts.join(" | "),
            "0s | 12us | 12ms | 1.5s | 59s | 2m 5s | 2h 5m | 2d 1h | -1m 30s"
        );
    }

    #[test]
    fn timestamps_are_rfc_3339() {
        let at = Timestamp::parse_rfc3339("2026-11-22T07:00:00+01:00").expect("valid");
        assert_eq!(at.to_string(), "2026-11-22T06:00:00Z");
    }
}
