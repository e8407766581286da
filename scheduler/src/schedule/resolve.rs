//! From the wall clock of a zone to instants and back, with every clock change in the open.
//!
//! Instants are seconds since the Unix epoch; wall times are what [`super::walls`] calls so.

use crate::spec::TimeOfDay;
use crate::time::Timestamp;
use chrono::{DateTime, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use std::ops::Range;

/// No zone was ever this far from UTC; Manila's 15:56 west is the record.
const FARTHEST_OFFSET_SECS: i64 = 16 * 3600;

/// What a wall time means in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Once(i64),
    /// The clock went back over it.
    Twice {
        first: i64,
        second: i64,
    },
    /// The clock jumped over it: at the instant `resumes`, from `walls.start` to `walls.end`.
    Never {
        resumes: i64,
        walls: Range<i64>,
    },
}

/// Which of the two times a repeated wall time is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    First,
    Second,
}

/// An instant whose wall time is shown twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) pass: Pass,
    /// All wall times that this change of the clock repeats.
    pub(super) walls: Range<i64>,
}

/// What the clock on the wall shows at `at`.
pub(super) fn wall_at(zone: Tz, at: i64) -> i64 {
    at + offset_at(zone, at)
}

pub(super) fn meaning_of(zone: Tz, wall: i64) -> Meaning {
    match zone.offset_from_local_datetime(&naive(wall)) {
        MappedLocalTime::Single(offset) => Meaning::Once(wall - secs(&offset)),
        MappedLocalTime::Ambiguous(a, b) => {
            let (a, b) = (wall - secs(&a), wall - secs(&b));
            Meaning::Twice {
                first: a.min(b),
                second: a.max(b),
            }
        }
        MappedLocalTime::None => {
            // A wall time that is never shown is passed exactly once, by the jump itself.
            let resumes = first_instant(
                wall - FARTHEST_OFFSET_SECS..wall + FARTHEST_OFFSET_SECS,
                |at| wall_at(zone, at) > wall,
            );
            Meaning::Never {
                resumes,
                walls: resumes + offset_at(zone, resumes - 1)..wall_at(zone, resumes),
            }
        }
    }
}

/// Whether the wall time at `at` is shown twice, and which time this is.
pub(super) fn repeated_at(zone: Tz, at: i64) -> Option<Repeated> {
    let Meaning::Twice { first, second } = meaning_of(zone, wall_at(zone, at)) else {
        return None;
    };
    let (before, after) = (offset_at(zone, first), offset_at(zone, second));
    let change = first_instant(first..second, |at| offset_at(zone, at) == after);
    Some(Repeated {
        pass: if at == first {
            Pass::First
        } else {
            Pass::Second
        },
        walls: change + after..change + before,
    })
}

/// The date that the wall clock of a zone shows.
pub(crate) fn local_day(zone: Tz, at: Timestamp) -> Option<NaiveDate> {
    let secs = at.0.div_euclid(1_000_000);
    let utc = DateTime::from_timestamp(secs, 0)?.naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix();
    Some(utc.checked_add_offset(offset)?.date())
}

/// Where a local day begins.
pub(crate) fn first_instant_of(zone: Tz, day: NaiveDate) -> Option<Timestamp> {
    let (first, _) = instants_of(zone, day, TimeOfDay::default())?;
    Some(first)
}

/// The first and the last instant at which the wall clock shows a time of a day: two where the clock goes back over
/// it. Where it jumps over it, the first instant after that.
pub(crate) fn instants_of(
    zone: Tz,
    day: NaiveDate,
    time: TimeOfDay,
) -> Option<(Timestamp, Timestamp)> {
    let wall = wall_of(day) + i64::from(time.minutes) * 60;
    let (first, last) = instants_at(zone, wall);
    Some((Timestamp::from_secs(first), Timestamp::from_secs(last)))
}

/// The wall time of a day's midnight.
pub(super) fn wall_of(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
}

pub(super) fn instants_at(zone: Tz, wall: i64) -> (i64, i64) {
    match meaning_of(zone, wall) {
        Meaning::Once(at) => (at, at),
        Meaning::Twice { first, second } => (first, second),
        Meaning::Never { resumes, .. } => (resumes, resumes),
    }
}

/// The first instant of the range at which `reached` holds, else its end; it holds from there on.
pub(super) fn first_instant(range: Range<i64>, reached: impl Fn(i64) -> bool) -> i64 {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if reached(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

pub(super) fn offset_at(zone: Tz, at: i64) -> i64 {
    secs(&zone.offset_from_utc_datetime(&naive(at)))
}

fn secs(offset: &impl Offset) -> i64 {
    i64::from(offset.fix().local_minus_utc())
}

fn naive(secs: i64) -> NaiveDateTime {
    DateTime::from_timestamp(secs, 0)
        .unwrap_or_default()
        .naive_utc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{America::New_York, Australia::Lord_Howe, Pacific::Apia};

    fn secs(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>()
            .expect("RFC 3339")
            .timestamp()
    }

    #[test]
    fn a_jump_forward_skips_its_wall_times() {
        let resumes = secs("2026-03-08T07:00:00Z");
        let walls = secs("2026-03-08T02:00:00Z")..secs("2026-03-08T03:00:00Z");
        let never = Meaning::Never {
            resumes,
            walls: walls.clone(),
        };
        assert_eq!(meaning_of(New_York, walls.start), never);
        assert_eq!(meaning_of(New_York, walls.start + 1800), never);
        assert_eq!(meaning_of(New_York, walls.end - 1), never);
        assert_eq!(meaning_of(New_York, walls.end), Meaning::Once(resumes));
        assert_eq!(
            meaning_of(New_York, walls.start - 1),
            Meaning::Once(resumes - 1)
        );
    }

    #[test]
    fn samoa_skipped_a_whole_day() {
        assert_eq!(
            meaning_of(Apia, secs("2011-12-30T12:00:00Z")),
            Meaning::Never {
                resumes: secs("2011-12-30T10:00:00Z"),
                walls: secs("2011-12-30T00:00:00Z")..secs("2011-12-31T00:00:00Z"),
            }
        );
    }

    #[test]
    fn a_step_back_repeats_its_wall_times() {
        // Lord Howe steps back half an hour at 02:00 summer time, 15:00 UTC.
        let change = secs("2026-04-04T15:00:00Z");
        let walls = secs("2026-04-05T01:30:00Z")..secs("2026-04-05T02:00:00Z");
        for (at, pass) in [
            (change - 1801, None),
            (change - 1800, Some(Pass::First)),
            (change - 1, Some(Pass::First)),
            (change, Some(Pass::Second)),
            (change + 1799, Some(Pass::Second)),
            (change + 1800, None),
        ] {
            let expected = pass.map(|pass| Repeated {
                pass,
                walls: walls.clone(),
            });
            assert_eq!(repeated_at(Lord_Howe, at), expected, "{}", at - change);
        }
    }
}
