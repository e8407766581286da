//! What the core finds wrong with a flow, at the places where it is written.

use crate::diagnostic::Diagnostic;
use crate::outline::Outline;
use crate::reader::{Cx, did_you_mean};
use crate::schedules::SchedulePlace;
use dalsegno_scheduler::blackout::BlackoutError;
use dalsegno_scheduler::calendar::CalendarError;
use dalsegno_scheduler::schedule::ScheduleError;
use dalsegno_scheduler::{FlowError, NESTING_MAX, NODES_MAX, StepName};
use std::collections::BTreeMap;
use std::ops::Range;

/// Places of a file that the core's errors are about.
pub(crate) struct Places<'a> {
    pub(crate) outline: &'a Outline,
    pub(crate) steps: Range<usize>,
    pub(crate) schedules: &'a [SchedulePlace],
    pub(crate) blackouts: &'a [Range<usize>],
    /// By their keys.
    pub(crate) promises: &'a BTreeMap<String, Range<usize>>,
    /// In the same order.
    pub(crate) names_of_blackouts: Vec<String>,
}

impl Places<'_> {
    pub(crate) fn report(&self, cx: &Cx<'_>, error: &FlowError) {
        if let Some(diagnostic) = self.diagnostic(cx, error) {
            cx.push(diagnostic);
        }
    }

    /// `None` for what was reported while the file was read.
    fn diagnostic(&self, cx: &Cx<'_>, error: &FlowError) -> Option<Diagnostic> {
        Some(match error {
            FlowError::NoSteps | FlowError::Duplicate(_) | FlowError::EmptyScope(_) => return None,
            FlowError::TooManySteps(_) => cx
                .at(&self.steps, "flow.too_large", error.to_string())
                .help(format!(
                    "make several flows of it, or one step with `foreach`; {NODES_MAX} is the limit"
                )),
            FlowError::TooDeep(name) => cx
                .at(&self.name(name), "flow.too_large", error.to_string())
                .help(format!(
                    "join two foreach into one over pairs; {NESTING_MAX} is the limit"
                )),
            FlowError::UnknownStep { step, after, .. } => {
                let help = did_you_mean(after.as_str(), &self.siblings(step));
                let message = format!("`{step}` comes after `{after}`, which does not exist");
                cx.at(&self.after(step, after), "flow.unknown_step", message)
                    .help(help)
            }
            FlowError::OtherScope { step, after } => {
                let message =
                    format!("`{step}` cannot come after `{after}`, which is in another block");
                cx.at(&self.after(step, after), "flow.unknown_step", message)
                    .help(self.other_scope(step, after))
            }
            FlowError::Cycle { cycle } => self.cycle(cx, cycle),
            FlowError::Schedule { index, error } => {
                let place = self.schedules.get(*index)?;
                schedule(cx, place, error)
            }
            FlowError::Sla { error } => {
                let at = self.promises.get(&error.promise).unwrap_or(&self.steps);
                cx.at(at, "flow.sla", error.to_string()).help(&error.cure)
            }
            FlowError::Blackout(error) => self.blackout(cx, error),
            // A zone that nobody knows was reported where it stands.
            FlowError::Deadline { .. } => return None,
            // YAML has no switches.
            FlowError::SubFlowSwitch(_) => return None,
            // A step that says something else than its flow was reported where it says so.
            FlowError::MixedExecutors(_) | FlowError::RemoteHere(_) => return None,
            // Of Metaflow's flows, which are not read from YAML.
            FlowError::Reset { .. } | FlowError::HookInGraph(_) | FlowError::NoMetaflow(_) => {
                return None;
            }
        })
    }

    /// All but what is about calendars and time of day was found while reading.
    fn blackout(&self, cx: &Cx<'_>, error: &BlackoutError) -> Diagnostic {
        let (name, help) = match error {
            BlackoutError::Always { name, .. } => (
                name,
                "name the `days` on which it begins, or pause the flow",
            ),
            BlackoutError::Calendar { name, .. } => (name, "take days out of the calendar"),
            BlackoutError::TimeZone { name, .. } => (name, "write a name of the IANA database"),
            BlackoutError::Backwards { name, .. } => (name, "swap `from` and `to`"),
        };
        let index = self.names_of_blackouts.iter().position(|it| it == name);
        let at = index
            .and_then(|it| self.blackouts.get(it))
            .unwrap_or(&self.steps);
        let message = match error {
            BlackoutError::Always { name, at } => {
                format!(
                    "the blackout `{name}` is never over: it lasts from {at} to {at} on every day"
                )
            }
            other => other.to_string(),
        };
        cx.at(at, "flow.blackout", message).help(help)
    }

    fn name(&self, name: &StepName) -> Range<usize> {
        let item = self.outline.find(name.as_str());
        item.map_or_else(
            || self.steps.clone(),
            |it| self.outline.items[it].name_span.clone(),
        )
    }

    /// Where `step` names `after`.
    fn after(&self, step: &StepName, after: &StepName) -> Range<usize> {
        self.after_exactly(step, after)
            .unwrap_or_else(|| self.name(step))
    }

    fn after_exactly(&self, step: &StepName, after: &StepName) -> Option<Range<usize>> {
        let item = &self.outline.items[self.outline.find(step.as_str())?];
        let named = item.after.iter().find(|(it, _)| it == after.as_str())?;
        Some(named.1.clone())
    }

    fn siblings(&self, step: &StepName) -> Vec<&str> {
        let parent = self
            .outline
            .find(step.as_str())
            .and_then(|it| self.outline.items[it].parent);
        let siblings = self
            .outline
            .items
            .iter()
            .filter(|it| it.parent == parent && it.name != step.as_str());
        siblings.map(|it| it.name.as_str()).collect()
    }

    fn other_scope(&self, step: &StepName, after: &StepName) -> String {
        let (Some(user), Some(target)) = (
            self.outline.find(step.as_str()),
            self.outline.find(after.as_str()),
        ) else {
            return "name a step or block beside it".into();
        };
        let joins = self.outline.joins(target, user);
        match self.outline.runs_before(target, user) {
            Ok(()) => format!("remove it: the block around `{step}` waits for it already"),
            Err(Some(needed)) if joins == step.as_str() => {
                format!("write `{needed}`, the block that holds it")
            }
            Err(Some(needed)) => {
                format!("write `after: {needed}` at `{joins}`, the block around `{step}`")
            }
            Err(None) => {
                "remove it: what is inside of a block cannot wait for the block or what follows it"
                    .into()
            }
        }
    }

    fn cycle(&self, cx: &Cx<'_>, cycle: &[StepName]) -> Diagnostic {
        let path: Vec<&str> = cycle.iter().map(StepName::as_str).collect();
        let path = match path.len() {
            0..=12 => path.join(" -> "),
            many => format!(
                "{} -> … ({} more) -> {}",
                path[..10].join(" -> "),
                many - 11,
                path[many - 1]
            ),
        };
        let message = format!("steps wait for each other: {path}");
        let mut places = cycle.windows(2).filter_map(|pair| {
            let at = self.after_exactly(&pair[1], &pair[0])?;
            Some((at, format!("`{}` waits for `{}`", pair[1], pair[0])))
        });
        let help = "remove one of these names from `after`";
        let Some((first, label)) = places.next() else {
            return cx
                .at(&self.name(&cycle[0]), "flow.cycle", message)
                .help(help);
        };
        let diagnostic = cx.at(&first, "flow.cycle", message).label(label).help(help);
        places
            .take(9)
            .fold(diagnostic, |it, (at, label)| it.also(at, label))
    }
}

fn schedule(cx: &Cx<'_>, place: &SchedulePlace, error: &ScheduleError) -> Diagnostic {
    match error {
        ScheduleError::Field {
            text,
            field,
            found,
            expected,
            cure,
        } => {
            let message = format!(
                "cron \"{}\": the {field} `{found}` is not valid",
                crate::yaml::shorten(text)
            );
            let at = within(cx, &place.when, found);
            cx.at(&at, "flow.schedule", message)
                .label(format!("expected {expected}"))
                .help(cure.as_str())
        }
        ScheduleError::Cron {
            text,
            problem,
            cure,
        } => {
            let message = format!("cron \"{}\": {problem}", crate::yaml::shorten(text));
            cx.at(&place.when, "flow.schedule", message)
                .help(cure.as_str())
        }
        ScheduleError::TooLong { length, max } => {
            let message =
                format!("the cron text has {length} characters, and at most {max} are read");
            cx.at(&place.when, "flow.schedule", message)
                .help("write several schedules instead of one long list")
        }
        ScheduleError::Period {
            period,
            expected,
            cure,
        } => {
            let message = format!("every {period} is not a usable period, expected {expected}");
            cx.at(&place.when, "flow.schedule", message).help(*cure)
        }
        ScheduleError::Calendar(error) => {
            let message = match error {
                CalendarError::NeverOpen { calendar, from } => format!(
                    "the calendar `{calendar}` has no open day in the year from {from} on, so nothing could run"
                ),
                other => other.to_string(),
            };
            cx.at(&place.calendar, "flow.calendar", message)
                .help("take days out of the calendar")
        }
        ScheduleError::Roll { calendar } => {
            let message = format!(
                "it is not clear what moves to which day: `roll` needs a cron text with one time of day, and the calendar \
                 `{calendar}` is used with another"
            );
            cx.at(&place.calendar, "flow.calendar", message)
                .help("write one schedule for each time of day, or `roll: skip`")
        }
        ScheduleError::TimeZone { name, suggestion } => {
            time_zone(cx, &place.timezone, name, suggestion.as_deref())
        }
    }
}

/// A time zone that nobody knows, outside of a schedule.
pub(crate) fn unknown_zone(cx: &Cx<'_>, at: &Range<usize>, error: &ScheduleError) {
    if let ScheduleError::TimeZone { name, suggestion } = error {
        cx.push(time_zone(cx, at, name, suggestion.as_deref()));
    }
}

fn time_zone(cx: &Cx<'_>, at: &Range<usize>, name: &str, suggestion: Option<&str>) -> Diagnostic {
    let help = match suggestion {
        Some(zone) => format!("did you mean `{zone}`?"),
        None => "write a name of the IANA database, such as `Europe/Berlin` or `UTC`".into(),
    };
    let message = format!("unknown time zone `{name}`");
    cx.at(at, "flow.time_zone", message).help(help)
}

/// The place of a field of a cron text, if it stands there once as a word of its own.
fn within(cx: &Cx<'_>, at: &Range<usize>, found: &str) -> Range<usize> {
    let text = cx.source.slice(at.clone());
    let mut places = text.match_indices(found).filter(|(place, _)| {
        let edge = |it: Option<char>| it.is_none_or(|it| !it.is_ascii_alphanumeric());
        edge(text[..*place].chars().next_back()) && edge(text[place + found.len()..].chars().next())
    });
    match (found.is_empty(), places.next(), places.next()) {
        (false, Some((place, _)), None) => at.start + place..at.start + place + found.len(),
        _ => at.clone(),
    }
}
