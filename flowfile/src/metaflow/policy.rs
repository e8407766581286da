//! Decorators of a step that decide how it is run: `@retry`, `@catch`, `@timeout`, `@environment`.

use super::declared::{Decorator, Kind, Step};
use super::found::Found;
use super::value::Value;
use dalsegno_scheduler::Span;
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::spec::{Backoff, Retry};
use std::collections::BTreeMap;

/// Metaflow makes six attempts at most, two of them kept for `@catch`.
const TIMES_MAX: i64 = 4;
/// Attempts that `@catch` gets when the process itself died.
const CATCH_RETRIES: u32 = 3;
/// Metaflow's own alarm strikes first; what does not hear it is killed so much later.
pub(super) const TIMEOUT_GRACE_SECS: i64 = 60;
/// A hundred years.
const SECONDS_MAX: i64 = 100 * 366 * 86_400;
const MINUTES_MAX: i64 = SECONDS_MAX / 60;

/// How often user code is repeated, and all repetitions.
pub(super) fn retry(step: &Step, found: &mut Found) -> (u32, Retry) {
    let (mut times, mut minutes) = (0, 0);
    if let Some(decorator) = step.decorator("retry") {
        times = number(decorator, "times", 3, found);
        minutes = number(decorator, "minutes_between_retries", 2, found);
        if times > TIMES_MAX {
            let message =
                format!("`@retry` repeats {times} times, and {TIMES_MAX} is Metaflow's limit");
            let help = format!("write `times={TIMES_MAX}` or less");
            found.error(decorator.place_of("times"), "metaflow.retry", message, help);
            times = TIMES_MAX;
        }
    }
    let caught = step.decorator("catch").map_or(0, |_| CATCH_RETRIES);
    let counted = (u32::try_from(times).unwrap_or(0), caught);
    let (user, fallback) = step.retries.unwrap_or(counted);
    let pause = Span::from_mins(minutes.min(MINUTES_MAX));
    let retry = Retry {
        times: user + fallback,
        backoff: Backoff {
            initial: pause,
            max: pause,
            multiplier_percent: 100,
            jitter_percent: 0,
        },
    };
    (user, retry)
}

pub(super) fn catch(step: &Step, found: &mut Found) {
    let Some(decorator) = step.decorator("catch") else {
        return;
    };
    let what = match step.kind {
        Kind::Foreach | Kind::Parallel => "a step that starts a foreach",
        Kind::Switch => "a switch",
        _ => return,
    };
    let message = format!("`@catch` cannot be on `{}`: it is {what}", step.name);
    let help = "nobody could know what follows a caught error; put the work into a step before it";
    found.error(&decorator.place, "metaflow.catch", message, help);
}

pub(super) fn timeout(step: &Step, found: &mut Found) -> Option<Span> {
    let decorator = step.decorator("timeout")?;
    let parts = [("seconds", 1), ("minutes", 60), ("hours", 3600)];
    if parts.iter().any(|(name, _)| !decorator.is_known(name)) {
        return None;
    }
    let mut seconds: i64 = 0;
    for (name, unit) in parts {
        let part = number(decorator, name, 0, found);
        seconds = seconds.saturating_add(part.saturating_mul(unit));
    }
    match seconds {
        1..=SECONDS_MAX => Some(Span::from_secs(seconds + TIMEOUT_GRACE_SECS)),
        _ => {
            let message =
                "`@timeout` needs a duration of at least a second and at most a hundred years";
            let help = "write `@timeout(minutes=30)`; seconds, minutes and hours are added";
            found.error(&decorator.place, "metaflow.timeout", message, help);
            None
        }
    }
}

pub(super) fn environment(step: &Step, found: &mut Found) -> BTreeMap<String, Template> {
    let Some(decorator) = step.decorator("environment") else {
        return BTreeMap::new();
    };
    match decorator.value("vars", found) {
        Some(Value::Dict(vars)) if vars.iter().any(|(_, it)| it.to_json().is_none()) => {
            let reason = "the text of a function or type is used";
            found.unknown(decorator.place_of("vars"), "@environment(vars=…)", reason);
            BTreeMap::new()
        }
        Some(Value::Dict(vars)) => vars
            .iter()
            .map(|(name, value)| {
                let value = serde_json::Value::String(value.plain());
                (name.plain(), Template::exact(value))
            })
            .collect(),
        None | Some(Value::None) => BTreeMap::new(),
        Some(other) => {
            let message = format!(
                "`vars` is {}, and a dict is expected",
                crate::yaml::shorten(&other.repr())
            );
            let help = "write `@environment(vars={\"NAME\": \"value\"})`";
            found.error(
                decorator.place_of("vars"),
                "metaflow.environment",
                message,
                help,
            );
            BTreeMap::new()
        }
    }
}

/// A whole number, 0 or more, as `int()` reads it.
fn number(decorator: &Decorator, name: &str, default: i64, found: &mut Found) -> i64 {
    let Some(value) = decorator.value(name, found) else {
        return default;
    };
    match value.to_int().filter(|it| *it >= 0) {
        Some(number) => number,
        None => {
            let message = format!(
                "`{name}` is {}, and a whole number from 0 on is expected",
                crate::yaml::shorten(&value.repr())
            );
            let help = format!("write `@{}({name}={default})`", decorator.name);
            let code = match decorator.name.as_str() {
                "retry" => "metaflow.retry",
                _ => "metaflow.timeout",
            };
            found.error(decorator.place_of(name), code, message, help);
            default
        }
    }
}
