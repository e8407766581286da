//! Where running a flow shows something else than reading it.

use super::declared::{Declared, Decorator, Step};
use super::found::{Found, Place};
use super::known;
use super::options::Options;
use super::read::MetaflowFile;
use super::value::Value;
use super::{events, project, schedule};
use std::fmt;

/// Reading and running a flow give different values; the one of running counts.
#[derive(Clone, Debug)]
pub struct Difference {
    /// `@retry(times=…) of step train`.
    pub what: String,
    /// As Metaflow has it.
    pub run: String,
    /// As the text says.
    pub read: String,
    /// In the flow file, from 1; 0 if it has no readable text.
    pub line: u32,
    place: Place,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {} when run, {} as read",
            self.what, self.run, self.read
        )
    }
}

impl Difference {
    pub(super) fn warn(&self, found: &mut Found) {
        let help = "what Metaflow says when the file is run counts; write the value here to make both equal";
        found.warning(&self.place, "metaflow.differs", self.to_string(), help);
    }
}

/// Nothing if the text itself says that anything may change.
pub(super) fn list(file: &MetaflowFile, run: &Declared, options: &Options) -> Vec<Difference> {
    let read = &file.declared;
    let mut list = List::default();
    let anything = |what: &str| {
        (what.starts_with('@') && !what.contains('('))
            || what.starts_with("the base class")
            || what.starts_with("Config")
    };
    if !file.complete || file.dynamic.iter().any(|it| anything(&it.what)) {
        return list.0;
    }
    list.steps(read, run);
    list.params(read, run);
    list.flow(read, run, options);
    list.0
}

#[derive(Default)]
struct List(Vec<Difference>);

impl List {
    fn add(
        &mut self,
        place: &Place,
        what: String,
        run: impl Into<String>,
        read: impl Into<String>,
    ) {
        self.0.push(Difference {
            what,
            run: run.into(),
            read: read.into(),
            line: place.line(),
            place: place.clone(),
        });
    }

    fn steps(&mut self, read: &Declared, run: &Declared) {
        for it in &run.steps {
            if !read.steps.iter().any(|read| read.name == it.name) {
                self.add(
                    &read.place,
                    format!("step {}", it.name),
                    "there",
                    "not there",
                );
            }
        }
        for it in &read.steps {
            let Some(run) = run.steps.iter().find(|run| run.name == it.name) else {
                self.add(&it.place, format!("step {}", it.name), "not there", "there");
                continue;
            };
            let place = it.next_place.as_ref().unwrap_or(&it.place);
            if it.next != run.next {
                let what = format!("what follows {}", it.name);
                self.add(place, what, run.next.join(", "), it.next.join(", "));
            } else if it.kind != run.kind {
                let what = format!("the kind of {}", it.name);
                let name = |step: &Step| format!("{:?}", step.kind).to_lowercase();
                self.add(place, what, name(run), name(it));
            }
            self.decorators(
                &it.decorators,
                &run.decorators,
                &format!(" of step {}", it.name),
                &it.place,
            );
        }
    }

    fn decorators(&mut self, read: &[Decorator], run: &[Decorator], of: &str, place: &Place) {
        let matters = |name: &str| known::decorator(name).is_some_and(|it| it.schedules);
        for it in run.iter().filter(|it| matters(&it.name)) {
            if !read.iter().any(|read| read.name == it.name) {
                self.add(place, format!("@{}{of}", it.name), "there", "not there");
            }
        }
        for it in read.iter().filter(|it| matters(&it.name)) {
            let Some(run) = run.iter().find(|run| run.name == it.name) else {
                self.add(&it.place, format!("@{}{of}", it.name), "not there", "there");
                continue;
            };
            for attribute in &run.attributes {
                let read = match it.attribute(&attribute.name).map(|it| &it.value) {
                    Some(Ok(value)) => Some(value.clone()),
                    Some(Err(_)) => None,
                    None => default(&it.name, &attribute.name),
                };
                let (Some(read), Ok(run)) = (read, &attribute.value) else {
                    continue;
                };
                if read.plain() != run.plain() && read.to_json() != run.to_json() {
                    let what = format!("@{}({}=…){of}", it.name, attribute.name);
                    self.add(it.place_of(&attribute.name), what, run.repr(), read.repr());
                }
            }
        }
    }

    fn params(&mut self, read: &Declared, run: &Declared) {
        for it in &run.params {
            if !read.params.iter().any(|read| read.name == it.name) {
                self.add(
                    &read.place,
                    format!("Parameter {}", it.name),
                    "there",
                    "not there",
                );
            }
        }
        for it in &read.params {
            let Some(run) = run.params.iter().find(|run| run.name == it.name) else {
                self.add(
                    &it.place,
                    format!("Parameter {}", it.name),
                    "not there",
                    "there",
                );
                continue;
            };
            let shown = |json: &Option<serde_json::Value>| match json {
                Some(json) => json.to_string(),
                None => "none".to_owned(),
            };
            if it.unknown_default.is_none() && it.default != run.default {
                let what = format!("the default of Parameter {}", it.name);
                self.add(&it.place, what, shown(&run.default), shown(&it.default));
            }
            if it.kind != run.kind {
                let what = format!("the type of Parameter {}", it.name);
                let name = |kind: super::declared::ParamType| format!("{kind:?}").to_lowercase();
                self.add(&it.place, what, name(run.kind), name(it.kind));
            }
        }
    }

    /// Of decorators whose attributes have several spellings, what comes out of them is compared.
    fn flow(&mut self, read: &Declared, run: &Declared, options: &Options) {
        let mut quiet = Found::default();
        let read_project = project::read(read, options, &mut quiet);
        let run_project = run
            .project
            .as_ref()
            .and_then(|it| project::of_dump(it, options));
        let decorator = |name: &str| read.decorators.iter().find(|it| it.name == name);
        if let (Some(read), Some(run), Some(at)) =
            (&read_project, &run_project, decorator("project"))
            && (&read.name, &read.branch) != (&run.name, &run.branch)
        {
            let shown =
                |it: &dalsegno_scheduler::metaflow::Project| format!("{}.{}", it.name, it.branch);
            self.add(&at.place, "@project".to_owned(), shown(run), shown(read));
        }
        for name in [
            "schedule",
            "project",
            "trigger",
            "trigger_on_finish",
            "exit_hook",
        ] {
            let there = run.decorators.iter().any(|it| it.name == name);
            match (decorator(name), there) {
                (None, true) => self.add(&read.place, format!("@{name}"), "there", "not there"),
                (Some(it), false) => {
                    self.add(&it.place, format!("@{name}"), "not there", "there");
                }
                _ => {}
            }
        }
        let both = (
            schedule::read(read, &mut quiet),
            schedule::read(run, &mut quiet),
        );
        if let ((Some(one), Some(other)), Some(at)) = (both, decorator("schedule"))
            && (&one.when, &one.timezone) != (&other.when, &other.timezone)
        {
            let shown = |it: &dalsegno_scheduler::spec::ScheduleSpec| {
                format!("{:?} {}", it.when, it.timezone)
            };
            self.add(
                &at.place,
                "@schedule".to_owned(),
                shown(&other),
                shown(&one),
            );
        }
        for (name, read_it) in [
            ("trigger", events::trigger as fn(&_, _, &mut _) -> _),
            ("trigger_on_finish", events::on_finish),
        ] {
            let one = read_it(read, read_project.as_ref(), &mut quiet);
            let other = read_it(run, run_project.as_ref(), &mut quiet);
            if let (Some(one), Some(other), Some(at)) = (one, other, decorator(name))
                && one != other
            {
                let shown = |it: &dalsegno_scheduler::spec::TriggerSpec| {
                    serde_json::to_string(&it.on).unwrap_or_default()
                };
                self.add(&at.place, format!("@{name}"), shown(&other), shown(&one));
            }
        }
    }
}

/// Of attributes of steps that are left out.
fn default(decorator: &str, attribute: &str) -> Option<Value> {
    Some(match (decorator, attribute) {
        ("retry", "times") => Value::Int(3),
        ("retry", "minutes_between_retries") => Value::Int(2),
        ("timeout", "seconds" | "minutes" | "hours") => Value::Int(0),
        ("catch", "var") => Value::None,
        ("catch", "print_exception") => Value::Bool(true),
        _ => return None,
    })
}
