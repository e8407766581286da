//! One item in a list of days: what `L`, `W` and `#` mean.

use super::days::DayRule;
use super::field::{Kind, Wrong};

/// An item of the day of month: a number, range or step, `L`, `L-2`, `LW`, `15W`.
pub(super) fn day_of_month(kind: &Kind, text: &str) -> Result<Vec<DayRule>, Wrong> {
    let upper = text.to_ascii_uppercase();
    let rule = match upper.as_str() {
        "L" => DayRule::BeforeLast(0),
        "LW" | "WL" => DayRule::LastWorkday,
        other => {
            if let Some(before) = other.strip_prefix("L-") {
                match before.parse() {
                    Ok(days @ 1..=30) => DayRule::BeforeLast(days),
                    _ => {
                        return Err(Wrong::new(
                            text,
                            "L-1 to L-30",
                            "L-2 is two days before the last day",
                        ));
                    }
                }
            } else if let Some(day) = other.strip_suffix('W') {
                DayRule::NearestWorkday(kind.number(day).map_err(|_| {
                    Wrong::new(
                        text,
                        "1W to 31W or LW",
                        "15W is the weekday nearest to the 15th",
                    )
                })?)
            } else {
                return Ok(kind.item(text)?.into_iter().map(DayRule::Date).collect());
            }
        }
    };
    Ok(vec![rule])
}

/// An item of the day of week: a number, name, range or step, `FRI#2`, `FRIL`, `L` of Quartz.
pub(super) fn day_of_week(kind: &Kind, text: &str) -> Result<Vec<DayRule>, Wrong> {
    let upper = text.to_ascii_uppercase();
    let weekday = |text: &str| kind.number(text).map(|day| day % 7);
    if let Some((day, nth)) = upper.split_once('#') {
        let weekday = weekday(day)?;
        return match nth.parse() {
            Ok(nth @ 1..=5) => Ok(vec![DayRule::NthWeekday { weekday, nth }]),
            _ => Err(Wrong::new(
                text,
                "a number from 1 to 5 after \"#\"",
                "FRI#2 is the second Friday of the month",
            )),
        };
    }
    match upper.strip_suffix('L') {
        // Quartz and EventBridge: the last day of the week, which is Saturday.
        Some("") if kind.base == 1 => Ok(vec![DayRule::Weekday(6)]),
        Some("") => Err(Wrong::new(
            text,
            "a day before \"L\"",
            "FRIL is the last Friday of the month",
        )),
        Some(day) => Ok(vec![DayRule::LastWeekday(weekday(day)?)]),
        None => Ok(kind.item(text)?.into_iter().map(DayRule::Weekday).collect()),
    }
}
