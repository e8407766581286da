//! `@schedule`: when a flow runs by the clock.

use super::declared::{Declared, Decorator};
use super::found::Found;
use super::value::Value;
use dalsegno_scheduler::Span;
use dalsegno_scheduler::TriggerName;
use dalsegno_scheduler::schedule::{Gap, Schedule, ScheduleError, When};
use dalsegno_scheduler::spec::{MisfireSpec, ScheduleSpec};

/// `None`: the flow has no schedule, or one that is wrong or not known (then that is reported).
pub(super) fn read(declared: &Declared, found: &mut Found) -> Option<ScheduleSpec> {
    let decorator = declared
        .decorators
        .iter()
        .find(|it| it.name == "schedule")?;
    let text = text(decorator, found)?;
    let timezone = match decorator.value("timezone", found) {
        None | Some(Value::None) if decorator.is_known("timezone") => "UTC".to_owned(),
        Some(Value::Str(zone)) => zone.clone(),
        None => return None,
        Some(other) => {
            let message = format!(
                "`timezone` is {}, and the name of a time zone is expected",
                other.repr()
            );
            let help = "write `timezone=\"Europe/Berlin\"`";
            found.error(
                decorator.place_of("timezone"),
                "metaflow.time_zone",
                message,
                help,
            );
            return None;
        }
    };
    let when = cron(decorator, &text, found)?;
    match Schedule::new(&when, &timezone, Gap::default(), None) {
        Ok(_) => Some(ScheduleSpec {
            calendar: None,
            name: TriggerName::new("schedule"),
            when,
            timezone,
            gap: Gap::default(),
            overlap: None,
            jitter: Span::default(),
            misfire: MisfireSpec::default(),
            params: Default::default(),
            start: None,
            end: None,
        }),
        Err(error) => {
            refuse(decorator, &error, found);
            None
        }
    }
}

/// The cron text that Metaflow takes; `None` also for `@schedule(daily=False)`, which is no schedule.
fn text(decorator: &Decorator, found: &mut Found) -> Option<String> {
    match decorator.value("cron", found) {
        Some(Value::Str(text)) if !text.is_empty() => return Some(text.clone()),
        Some(it) if it.is_true() => {
            let message = format!("`cron` is {}, and a text is expected", it.repr());
            let help = "write `cron=\"0 6 * * ? *\"`";
            found.error(
                decorator.place_of("cron"),
                "metaflow.schedule",
                message,
                help,
            );
            return None;
        }
        None if !decorator.is_known("cron") => return None,
        _ => {}
    }
    // In this order, whatever order they are written in.
    for (name, default, text) in [
        ("weekly", false, "0 0 ? * SUN *"),
        ("hourly", false, "0 * * * ? *"),
        ("daily", true, "0 0 * * ? *"),
    ] {
        let on = match decorator.value(name, found) {
            Some(value) => value.is_true(),
            None if !decorator.is_known(name) => return None,
            None => default,
        };
        if on {
            return Some(text.to_owned());
        }
    }
    None
}

/// Metaflow's schedulers read six fields as EventBridge does, the last being the year, and never seconds; five
/// as Unix does.
fn cron(decorator: &Decorator, text: &str, found: &mut Found) -> Option<When> {
    let place = decorator.place_of("cron");
    let fields: Vec<&str> = text.split_whitespace().collect();
    let cron = |text: String| When::Cron { text };
    let fits = |it: &When| Schedule::new(it, "UTC", Gap::default(), None).is_ok();
    if text.trim().starts_with('@') {
        return Some(cron(text.trim().to_owned()));
    }
    match fields[..] {
        [_, _, _, _, _] => Some(cron(fields.join(" "))),
        [minute, hour, day, month, weekday, year] => {
            let (day, weekday) = match (day, weekday) {
                ("?", _) | (_, "?") => (day, weekday),
                // EventBridge wants one `?`; without it only Argo takes the text.
                ("*", "*") | (_, "*") => (day, "?"),
                ("*", _) => ("?", weekday),
                _ => (day, weekday),
            };
            let both = day != "?" && weekday != "?";
            let bridge = cron([minute, hour, day, month, weekday, year].join(" "));
            if !both && (fields.contains(&"?") || fits(&bridge)) {
                return Some(bridge);
            }
            let unix = cron(fields[..5].join(" "));
            if (year == "*" || year == "?") && fits(&unix) {
                let message = format!("the first five fields of \"{text}\" count, as Unix cron");
                let help = format!("write `cron=\"{}\"`", fields[..5].join(" "));
                found.warning(place, "metaflow.schedule", message, help);
                return Some(unix);
            }
            if both {
                let message = format!(
                    "cron \"{text}\": day of month and day of week cannot both be restricted in six fields"
                );
                let help = "write `?` for one of them, or five fields, where either day is enough";
                found.error(place, "metaflow.schedule", message, help);
                return None;
            }
            // It goes on to say which field is wrong.
            Some(bridge)
        }
        _ if text.trim().starts_with("cron(") => {
            let message = format!("cron \"{text}\" is wrapped in `cron(…)`");
            let help = "write only what is between the brackets";
            found.error(place, "metaflow.schedule", message, help);
            None
        }
        _ => {
            let message = format!(
                "cron \"{}\" has {} fields, and five or six are expected",
                crate::yaml::shorten(text),
                fields.len()
            );
            let help = "write minute, hour, day, month and weekday, such as `cron=\"0 6 * * MON-FRI\"`, or these and the year";
            found.error(place, "metaflow.schedule", message, help);
            None
        }
    }
}

/// Checks a time of `reset_at`.
pub(super) fn check(when: &When, timezone: &str, decorator: &Decorator, found: &mut Found) -> bool {
    match Schedule::new(when, timezone, Gap::default(), None) {
        Ok(_) => true,
        Err(error) => {
            refuse(decorator, &error, found);
            false
        }
    }
}

fn refuse(decorator: &Decorator, error: &ScheduleError, found: &mut Found) {
    const CODE: &str = "metaflow.schedule";
    let place = match decorator.attribute("cron") {
        Some(it) => &it.place,
        None => decorator.place_of("options"),
    };
    match error {
        ScheduleError::Field {
            text,
            field,
            found: wrong,
            expected,
            cure,
        } => {
            let message = format!(
                "cron \"{}\": the {field} `{wrong}` is not valid, expected {expected}",
                crate::yaml::shorten(text)
            );
            found.error(place, CODE, message, cure.as_str());
        }
        ScheduleError::Cron {
            text,
            problem,
            cure,
        } => {
            let message = format!("cron \"{}\": {problem}", crate::yaml::shorten(text));
            found.error(place, CODE, message, cure.as_str());
        }
        ScheduleError::TooLong { length, max } => {
            let message =
                format!("the cron text has {length} characters, and at most {max} are read");
            found.error(place, CODE, message, "write a shorter list of times");
        }
        ScheduleError::Period { .. } | ScheduleError::Calendar(_) | ScheduleError::Roll { .. } => {
            found.error(place, CODE, error.to_string(), "")
        }
        ScheduleError::TimeZone { name, suggestion } => {
            let help = match suggestion {
                Some(zone) => format!("did you mean `{zone}`?"),
                None => {
                    "write a name of the IANA database, such as `Europe/Berlin` or `UTC`".into()
                }
            };
            let place = match decorator.attribute("timezone") {
                Some(it) => &it.place,
                None => place,
            };
            let message = format!("unknown time zone `{name}`");
            found.error(place, "metaflow.time_zone", message, help);
        }
    }
}
