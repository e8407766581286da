//! A cron text as a person says it.

use super::cron_text::CronText;
use super::days::DayRule;
use std::collections::BTreeSet;

pub(super) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

pub(super) const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// More times than this a day are not listed one by one.
const TIMES_LISTED: usize = 6;

/// A sentence such as `at 06:00, Monday to Friday`; none when the text has no plain one.
pub(super) fn describe(cron: &CronText) -> Option<String> {
    if cron.years.is_some() || cron.seconds.iter().ne([&0]) {
        return None;
    }
    let time = time_of_day(&cron.minutes, &cron.hours)?;
    let days = days(cron);
    let months = cron.months.as_ref().map_or_else(String::new, |months| {
        let names = months
            .iter()
            .map(|month| capital(MONTHS[*month as usize - 1]));
        format!(" in {}", list(names))
    });
    Some(format!("{time}{days}{months}"))
}

fn time_of_day(minutes: &BTreeSet<u32>, hours: &BTreeSet<u32>) -> Option<String> {
    let (minute, first) = (*minutes.first()?, *hours.first()?);
    let all_day = hours.len() == 24;
    let last = *hours.last()?;
    let hours_in_a_row = last - first + 1 == u32::try_from(hours.len()).ok()?;
    if minutes.len() > 1
        && let Some(step) = even_step(minutes, 60)
        && hours_in_a_row
    {
        let every = match step {
            1 => "every minute".to_owned(),
            _ => format!("every {step} minutes"),
        };
        return Some(match all_day {
            true => every,
            false => format!("{every} from {first:02}:00 to {last:02}:{:02}", 60 - step),
        });
    }
    if minutes.len() * hours.len() <= TIMES_LISTED {
        let times = hours
            .iter()
            .flat_map(|hour| minutes.iter().map(move |m| format!("{hour:02}:{m:02}")));
        return Some(format!("at {}", list(times)));
    }
    if minutes.len() > 1 {
        return None;
    }
    let past = match minute {
        0 => String::new(),
        _ => format!(" at :{minute:02}"),
    };
    match even_step(hours, 24) {
        Some(1) => Some(format!("every hour{past}")),
        Some(step) => Some(format!("every {step} hours{past}")),
        None if hours_in_a_row => Some(format!(
            "every hour from {first:02}:{minute:02} to {last:02}:{minute:02}"
        )),
        None => None,
    }
}

/// The distance between numbers that divide `whole` evenly, beginning with 0.
fn even_step(numbers: &BTreeSet<u32>, whole: u32) -> Option<u32> {
    let step = whole / u32::try_from(numbers.len()).ok()?;
    let even = (0..whole)
        .step_by(step as usize)
        .eq(numbers.iter().copied());
    (even && whole.is_multiple_of(step)).then_some(step)
}

fn days(cron: &CronText) -> String {
    let dates = cron.days_of_month.as_deref();
    let weekdays = cron.days_of_week.as_deref();
    match (dates, weekdays) {
        (None, None) => String::new(),
        (Some(rules), None) => format!(" on {}", dates_of(rules, cron.months.is_some())),
        (None, Some(rules)) => match weekday_run(rules) {
            Some(run) => format!(", {run}"),
            None => format!(" on {}", weekdays_of(rules)),
        },
        (Some(dates), Some(weekdays)) => format!(
            " on {} or on {}",
            dates_of(dates, cron.months.is_some()),
            weekdays_of(weekdays)
        ),
    }
}

fn dates_of(rules: &[DayRule], months_follow: bool) -> String {
    let of_the_month = if months_follow { "" } else { " of the month" };
    let plain: Option<BTreeSet<u32>> = rules
        .iter()
        .map(|rule| match rule {
            DayRule::Date(day) => Some(*day),
            _ => None,
        })
        .collect();
    if let Some(dates) = plain {
        let word = if dates.len() == 1 { "day" } else { "days" };
        let dates = list(dates.iter().map(u32::to_string));
        return format!("{word} {dates}{of_the_month}");
    }
    let each = rules.iter().map(|rule| match rule {
        DayRule::BeforeLast(0) => "the last day".to_owned(),
        DayRule::BeforeLast(1) => "the last day but one".to_owned(),
        DayRule::BeforeLast(days) => format!("the last day but {days}"),
        DayRule::LastWorkday => "the last weekday".to_owned(),
        DayRule::NearestWorkday(day) => format!("the weekday nearest to day {day}"),
        DayRule::Date(day) => format!("day {day}"),
        _ => unreachable!("a day of the week is not a date"),
    });
    format!("{}{of_the_month}", list(each))
}

fn weekdays_of(rules: &[DayRule]) -> String {
    let name = |weekday: u32| capital(WEEKDAYS[weekday as usize]);
    // A week begins on Monday; the sort keeps other days where they were written.
    let mut rules = rules.to_vec();
    rules.sort_by_key(|rule| match rule {
        DayRule::Weekday(weekday) => (weekday + 6) % 7,
        _ => 7,
    });
    let each = rules.iter().map(|rule| match *rule {
        DayRule::NthWeekday { weekday, nth } => {
            let nth = ["first", "second", "third", "fourth", "fifth"][nth as usize - 1];
            format!("the {nth} {} of the month", name(weekday))
        }
        DayRule::LastWeekday(weekday) => format!("the last {} of the month", name(weekday)),
        DayRule::Weekday(weekday) => name(weekday),
        _ => unreachable!("a date is not a day of the week"),
    });
    list(each)
}

/// Three or more days in a row, in a week that begins on Monday.
fn weekday_run(rules: &[DayRule]) -> Option<String> {
    let from_monday: Option<BTreeSet<u32>> = rules
        .iter()
        .map(|rule| match rule {
            DayRule::Weekday(weekday) => Some((weekday + 6) % 7),
            _ => None,
        })
        .collect();
    let from_monday = from_monday?;
    let (first, last) = (*from_monday.first()?, *from_monday.last()?);
    let name = |day: u32| capital(WEEKDAYS[(day as usize + 1) % 7]);
    (from_monday.len() >= 3 && (last - first + 1) as usize == from_monday.len())
        .then(|| format!("{} to {}", name(first), name(last)))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

fn capital(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}
