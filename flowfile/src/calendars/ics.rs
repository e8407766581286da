//! Calendars in iCalendar files (RFC 5545): the days of their events are closed.

use super::DATES_MAX;
use super::duration;
use super::lines::{Line, lines};
use super::text::problem;
use crate::diagnostic::Diagnostic;
use crate::reader::FINDINGS_MAX;
use crate::source::Source;
use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use dalsegno_scheduler::calendar::ClosedDays;
use dalsegno_scheduler::spec::{Calendar, CalendarRule};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// An event that is longer is no holiday.
const DAYS_MAX: i64 = 366;

/// Adds the days of all events to a calendar; what is wrong goes to `found`.
pub(super) fn read(name: &str, text: &str, calendar: &mut Calendar, found: &mut Vec<Diagnostic>) {
    let source = Source::new(name, text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut reader = Reader {
        source: &source,
        calendar,
        found,
    };
    reader.read();
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    calendar: &'a mut Calendar,
    found: &'a mut Vec<Diagnostic>,
}

/// The lines of one event.
struct Event {
    begin: Range<usize>,
    lines: Vec<Line>,
}

impl Event {
    fn get(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|it| it.name == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |it| it.name == name)
    }
}

impl Reader<'_> {
    fn error(&mut self, at: &Range<usize>, message: impl Into<String>, help: &str) {
        if self.found.len() < FINDINGS_MAX {
            let found = Diagnostic::new(self.source, at.clone(), "flow.calendar", message);
            self.found.push(found.help(help));
        }
    }

    fn read(&mut self) {
        const NO: &str = "this is not an iCalendar file";
        const HELP: &str =
            "export the calendar again as an .ics file: it begins with BEGIN:VCALENDAR";
        let mut within: Vec<String> = Vec::new();
        let mut event: Option<Event> = None;
        let mut events = 0;
        for line in lines(&self.source.clone().text) {
            let line = match line {
                Ok(line) => line,
                Err(at) if within.is_empty() => return self.error(&at, NO, HELP),
                Err(at) => {
                    let help = "every line is NAME:VALUE; a line that goes on begins with a space";
                    self.error(&at, "this line is not a property", help);
                    continue;
                }
            };
            match line.name.as_str() {
                "BEGIN" => {
                    let part = line.value.trim().to_ascii_uppercase();
                    if within.is_empty() && part != "VCALENDAR" {
                        return self.error(&line.at, NO, HELP);
                    }
                    if part == "VEVENT" && within.len() == 1 {
                        event = Some(Event {
                            begin: line.at,
                            lines: Vec::new(),
                        });
                    }
                    within.push(part);
                }
                "END" => {
                    let part = line.value.trim().to_ascii_uppercase();
                    if within.pop().as_ref() != Some(&part) {
                        let message = format!("END:{part} closes nothing");
                        return self.error(&line.at, message, "export the calendar again");
                    }
                    if part == "VEVENT" && within.len() == 1 {
                        events += 1;
                        event.take().into_iter().for_each(|it| self.event(&it));
                    }
                }
                _ if within.is_empty() => return self.error(&line.at, NO, HELP),
                // Alarms of an event and time zones have lines of the same names.
                _ if within.len() == 2 => {
                    if let Some(event) = &mut event {
                        event.lines.push(line);
                    }
                }
                _ => {}
            }
        }
        if let Some(part) = within.last() {
            let end = self.source.text.len();
            let message = format!("the file ends within {part}");
            self.error(&(end..end), message, "export the calendar again");
        } else if events == 0 && self.found.is_empty() {
            self.error(
                &(0..0),
                "the calendar has no events",
                "each closed day is an event (VEVENT)",
            );
        }
        if self.calendar.dates.len() > DATES_MAX {
            let message = format!("a calendar may have {DATES_MAX} single days");
            self.error(&(0..0), message, "take past events out of it");
        }
    }

    fn event(&mut self, event: &Event) {
        let status = event.get("STATUS").map(|it| it.value.trim());
        if status.is_some_and(|it| it.eq_ignore_ascii_case("CANCELLED")) {
            return;
        }
        if let Some(line) = event.get("RECURRENCE-ID") {
            let help = "take the day out of the series (EXDATE), and write an event of its own for the other day";
            return self.error(
                &line.at,
                "an event that moves one day of a series is not supported",
                help,
            );
        }
        if let Some(line) = event.get("EXRULE") {
            return self.error(
                &line.at,
                "EXRULE is not supported",
                "write the days as EXDATE",
            );
        }
        let Some(start) = event.get("DTSTART") else {
            let help = "write `DTSTART;VALUE=DATE:20261224`";
            return self.error(
                &event.begin,
                "the event does not say when it begins (DTSTART)",
                help,
            );
        };
        let Some(begin) = self.moment(start, start.value.trim()) else {
            return;
        };
        self.warn_of_utc(start);
        let Some(days) = self.days(event, start, begin) else {
            return;
        };
        let note = event
            .get("SUMMARY")
            .map_or_else(String::new, |it| unescaped(&it.value));
        let mut first_days = BTreeSet::from([begin.date()]);
        for line in event.all("RDATE") {
            first_days.extend(self.list(line));
        }
        let mut except = BTreeSet::new();
        for line in event.all("EXDATE") {
            except.extend(self.list(line));
        }
        for line in event.all("RRULE") {
            let rule = CalendarRule {
                rrule: line.value.trim().to_owned(),
                start: begin.date(),
                note: note.clone(),
            };
            if let Some(problem) = problem(&rule) {
                let message = format!("the rule cannot be used: {problem}");
                let help =
                    "change the event in the program that wrote the calendar, or take it out";
                return self.error(&line.at, message, help);
            }
            // A rule says neither how long an event lasts nor which days are left out.
            if days == 1 && except.is_empty() {
                self.calendar.rules.push(rule);
            } else if let Some(all) = self.occurrences(line, rule) {
                first_days.extend(all);
            } else {
                return;
            }
        }
        for first in first_days.difference(&except) {
            for day in first.iter_days().take(days) {
                self.calendar.dates.insert(day, note.clone());
            }
        }
    }

    /// How many days an event lasts.
    fn days(&mut self, event: &Event, start: &Line, begin: NaiveDateTime) -> Option<usize> {
        let (line, end) = match (event.get("DTEND"), event.get("DURATION")) {
            (Some(line), _) => (line, self.moment(line, line.value.trim())?),
            (None, Some(line)) => match duration::seconds(&line.value) {
                Some(seconds) => (line, begin + TimeDelta::seconds(seconds)),
                None => {
                    let message = format!("`{}` is not a length of time", line.value.trim());
                    self.error(&line.at, message, "write DURATION:P1D for one day");
                    return None;
                }
            },
            (None, None) => return Some(1),
        };
        // The end is no part of the event.
        let last = (end - TimeDelta::seconds(1)).max(begin).date();
        let days = (last - begin.date()).num_days() + 1;
        if end < begin {
            self.error(
                &line.at,
                "the event ends before it begins",
                "swap DTSTART and DTEND",
            );
            return None;
        }
        if days > DAYS_MAX {
            let message = format!("the event lasts {days} days");
            self.error(
                &start.at,
                message,
                "an event of a calendar lasts at most 366 days",
            );
            return None;
        }
        usize::try_from(days).ok()
    }

    /// The days of a rule, one by one.
    fn occurrences(&mut self, line: &Line, rule: CalendarRule) -> Option<Vec<NaiveDate>> {
        let start = rule.start;
        let last = NaiveDate::from_ymd_opt(2100, 12, 31)?;
        let alone = Calendar {
            rules: vec![rule],
            ..Calendar::default()
        };
        let closed = ClosedDays::new(&alone).ok()?;
        let days = start.iter_days().take_while(|it| *it <= last);
        let found: Vec<NaiveDate> = days
            .filter(|it| closed.is_closed(*it))
            .take(DATES_MAX)
            .collect();
        if found.len() == DATES_MAX {
            let help =
                "end the series with UNTIL, or make its events one day long without exceptions";
            self.error(&line.at, "the series has too many days", help);
            return None;
        }
        Some(found)
    }

    /// The days of `RDATE` and `EXDATE`.
    fn list(&mut self, line: &Line) -> Vec<NaiveDate> {
        let texts: Vec<&str> = line.value.split(',').map(str::trim).collect();
        let mut days = Vec::new();
        for text in texts {
            // A period counts by its first day.
            let first = text.split('/').next().unwrap_or(text);
            days.extend(self.moment(line, first).map(|it| it.date()));
        }
        days
    }

    /// A day, or a moment on the clock of its zone; the day is taken as it is written.
    fn moment(&mut self, line: &Line, text: &str) -> Option<NaiveDateTime> {
        let day = |it: &str| {
            let plain = it.len() == 8 && it.bytes().all(|it| it.is_ascii_digit());
            plain
                .then(|| NaiveDate::parse_from_str(it, "%Y%m%d").ok())
                .flatten()
        };
        let moment = match text.split_once('T') {
            None => day(text).map(|it| it.and_time(NaiveTime::MIN)),
            Some((date, time)) => {
                let time = time.strip_suffix('Z').unwrap_or(time);
                let time = NaiveTime::parse_from_str(time, "%H%M%S").ok();
                day(date).zip(time).map(|(day, time)| day.and_time(time))
            }
        };
        let in_range = |it: &NaiveDateTime| {
            it.checked_add_days(Days::new(2 * DAYS_MAX as u64))
                .is_some()
        };
        let moment = moment.filter(in_range);
        if moment.is_none() {
            let message = format!(
                "{}: `{}` is not a day",
                line.name,
                crate::yaml::shorten(text)
            );
            self.error(&line.at, message, "write it as 20261224 or 20261224T090000");
        }
        moment
    }

    /// A whole day of another zone begins on the day before or after in UTC.
    fn warn_of_utc(&mut self, start: &Line) {
        if start.value.trim().ends_with('Z') && start.param("VALUE") != Some("DATE") {
            let message = "the event is written in UTC, and its day is taken from there";
            let help =
                "if it is a whole day, make it an all-day event (DTSTART;VALUE=DATE:20261224)";
            let found = Diagnostic::new(self.source, start.at.clone(), "flow.calendar", message);
            self.found.push(found.warning().help(help));
        }
    }
}

/// The text of a note on one line.
fn unescaped(text: &str) -> String {
    let (mut plain, mut signs) = (String::new(), text.trim().chars());
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => match signs.next() {
                Some('n' | 'N') => plain.push(' '),
                Some(other) => plain.push(other),
                None => {}
            },
            _ => plain.push(sign),
        }
    }
    plain.chars().take(200).collect()
}
