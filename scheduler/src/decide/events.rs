//! The dependency tracker: events are matched to the triggers of flows.
//!
//! Every event is a row, and at each leaf that listens to it a match row says what became of it there:
//! it fired, waits for others, was filtered, replaced or expired.

use super::Draft;
use super::runs::{Arrival, RUN_ENDED};
use crate::expr::Scope;
use crate::flow::Flow;
use crate::id::{FlowName, RunId, TriggerName};
use crate::input::{Answer, Input, NewEvent, Rejected};
use crate::params;
use crate::reason::Reason;
use crate::row::{Claim, EventRow, HalfMatchRow, Interval, MatchOutcome, MatchRow};
use crate::spec::{
    EventSource, FlowEnd, FlowSpec, JoinOn, ParamSpec, TriggerExpr, TriggerLeaf, TriggerSpec,
};
use crate::state::{Subject, Timer};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most bytes of an event's source, id, type or subject, and of a request's key: they are keys of
/// the database, and PostgreSQL refuses index entries of more than about 2,700 bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The most bytes of one event's data, as JSON.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

impl Draft {
    pub(super) fn accept_event(&mut self, event: NewEvent) -> Result<Answer, Rejected> {
        let subject = event.subject.as_deref().unwrap_or_default();
        for (what, text) in [
            ("the event's source", event.source.as_str()),
            ("the event's id", &event.id),
            ("the event's type", &event.kind),
            ("the event's subject", subject),
        ] {
            if text.len() > KEY_BYTES_MAX {
                return Err(Rejected::TooLarge(what, KEY_BYTES_MAX));
            }
        }
        if event.data.to_string().len() > EVENT_BYTES_MAX {
            return Err(Rejected::TooLarge("the event's data", EVENT_BYTES_MAX));
        }
        if event.kind.starts_with("dalsegno.") || event.source.starts_with("dalsegno:") {
            return Err(Rejected::ReservedEvent(event.kind));
        }
        let claim = Input::Event(event.clone()).claim();
        let before = self.s.last_run;
        let seq = self.take_event(event);
        self.changes.claims.extend(claim.map(|key| Claim {
            key,
            result: format!("event:{seq}"),
        }));
        let runs = (before + 1..=self.s.last_run).map(RunId).collect();
        Ok(Answer::Event {
            seq,
            runs,
            duplicate: false,
        })
    }

    /// Records an event and lets every trigger that listens to it see it.
    pub(super) fn take_event(&mut self, event: NewEvent) -> u64 {
        self.s.last_event += 1;
        let event = Arc::new(EventRow {
            seq: self.s.last_event,
            source: event.source,
            id: event.id,
            kind: event.kind,
            subject: event.subject,
            time: event.time.unwrap_or(self.now),
            data: Arc::new(event.data),
            received_at: self.now,
            replay_of: None,
        });
        self.changes.events.push(event.clone());
        // An event is used up by a trigger that it completes; the trigger's other leaves only note it.
        let mut fired: Option<(FlowName, u16, MatchRow)> = None;
        for (flow, trigger, leaf) in self.listeners(&event) {
            let before = fired
                .as_ref()
                .filter(|it| (&it.0, it.1) == (&flow, trigger))
                .map(|it| it.2.clone());
            let done = self.offer(&flow, usize::from(trigger), leaf, &event, before);
            if let Some(done) = done {
                fired = Some((flow, trigger, done));
            }
        }
        event.seq
    }

    /// The leaves that listen to an event, those of one trigger together.
    fn listeners(&self, event: &EventRow) -> Vec<(FlowName, u16, u16)> {
        let mut subjects = Vec::new();
        match upstream(event) {
            Some(flow) => subjects.push(Subject::Flow(FlowName::new(flow))),
            None => subjects.push(Subject::Kind(event.kind.clone())),
        }
        subjects.extend(foreign_upstream(event).map(Subject::Flow));
        let of = |subject: Subject| {
            let first = (subject.clone(), FlowName::new(""), 0, 0);
            let listeners = self.s.subscriptions.range(first..);
            listeners.take_while(move |(it, ..)| *it == subject)
        };
        let mut all: Vec<_> = subjects
            .into_iter()
            .flat_map(of)
            .map(|(_, flow, trigger, leaf)| (flow.clone(), *trigger, *leaf))
            .collect();
        all.sort();
        all
    }

    /// Lets one leaf see an event; gives what came of it when it completed the trigger.
    /// `fired`: what came of it at an earlier leaf of the same trigger.
    fn offer(
        &mut self,
        name: &FlowName,
        trigger: usize,
        leaf: u16,
        event: &Arc<EventRow>,
        fired: Option<MatchRow>,
    ) -> Option<MatchRow> {
        let state = self.s.flows.get(name).expect("a subscriber exists").clone();
        let flow = state.flow.clone().expect("a subscriber has a version");
        let spec = &flow.spec().triggers[trigger];
        let leaf_spec = spec.on.leaves()[usize::from(leaf)];
        let place = MatchRow {
            event: event.seq,
            flow: name.clone(),
            trigger: spec.name.clone(),
            leaf,
            outcome: MatchOutcome::Filtered,
            reason: None,
            run: None,
            updated_at: self.now,
        };
        let join_key =
            passes(flow.spec(), leaf_spec, event).and_then(|()| join_key(spec, leaf_spec, event));
        let join_key = match join_key {
            Ok(key) => key,
            Err(reason) => {
                self.put_match(MatchRow {
                    reason: Some(reason),
                    ..place
                });
                return None;
            }
        };
        if let Some(fired) = fired {
            self.put_match(MatchRow { leaf, ..fired });
            return None;
        }
        // A set whose time has run out is over, whether its timer was looked at yet or not.
        let timer = self.s.half_match_timer(name, &spec.name, &join_key);
        if timer.is_some_and(|(at, _)| at <= self.now) {
            self.set_expired(name, &spec.name, &join_key);
        }
        let mut filled = self.set(name, &spec.name, &join_key);
        let older = filled.insert(leaf, event.clone());
        if is_satisfied(&spec.on, &filled) {
            let (outcome, reason, run) = self.fire(&flow, spec, &join_key, &filled);
            return Some(MatchRow {
                outcome,
                reason,
                run,
                ..place
            });
        }
        if let Some(older) = older {
            self.put_match(MatchRow {
                event: older.seq,
                outcome: MatchOutcome::Replaced,
                reason: Some(Reason::ReplacedByEvent { event: event.seq }),
                ..place.clone()
            });
        }
        let since = self
            .set_since(name, &spec.name, &join_key)
            .unwrap_or(self.now);
        self.put_half_match(HalfMatchRow {
            flow: name.clone(),
            trigger: spec.name.clone(),
            join_key,
            leaf,
            event: event.clone(),
            expires_at: expiry(&flow, trigger, since),
        });
        self.put_match(MatchRow {
            outcome: MatchOutcome::Waiting,
            reason: Some(Reason::WaitingFor {
                missing: missing(&spec.on, &filled),
            }),
            ..place
        });
        None
    }

    /// A trigger is complete: a run, or the reason why not.
    fn fire(
        &mut self,
        flow: &Flow,
        spec: &TriggerSpec,
        join_key: &str,
        filled: &BTreeMap<u16, Arc<EventRow>>,
    ) -> (MatchOutcome, Option<Reason>, Option<RunId>) {
        let name = flow.name();
        self.clear_set(name, &spec.name, join_key);
        let events: Vec<Arc<EventRow>> = filled.values().cloned().collect();
        let newest = events.iter().map(|it| it.seq).max().unwrap_or_default();
        let interval = events
            .iter()
            .find_map(|it| interval_of(it))
            .unwrap_or(Interval {
                start: self.now,
                end: self.now,
            });
        let result = match self.s.flows.get(name).and_then(|it| it.row.paused.clone()) {
            Some(paused) => Err(Reason::FlowPaused {
                by: paused.by,
                reason: paused.reason,
            }),
            None => match given(flow, spec, filled, interval, self.s.last_run + 1) {
                Ok(params) => self.arrive(Arrival {
                    flow: name.clone(),
                    key: format!("event:{}:{newest}", spec.name),
                    trigger: spec.name.clone(),
                    due_at: self.now,
                    interval,
                    params,
                    events,
                    before: None,
                }),
                Err(reason) => Err(reason),
            },
        };
        let (outcome, reason, run) = match result {
            Ok(run) => (MatchOutcome::Fired, None, Some(run)),
            Err(reason) => (MatchOutcome::Refused, Some(reason), None),
        };
        for (leaf, event) in filled {
            self.put_match(MatchRow {
                event: event.seq,
                flow: name.clone(),
                trigger: spec.name.clone(),
                leaf: *leaf,
                outcome,
                reason: reason.clone(),
                run,
                updated_at: self.now,
            });
        }
        (outcome, reason, run)
    }

    /// A half-matched set was not complete in time.
    pub(super) fn set_expired(&mut self, flow: &FlowName, trigger: &TriggerName, join_key: &str) {
        let filled = self.set(flow, trigger, join_key);
        let since = self.set_since(flow, trigger, join_key);
        let spec = self.s.flows.get(flow).and_then(|it| it.flow.clone());
        let found = spec.as_ref().and_then(|it| {
            let mut triggers = it.spec().triggers.iter().enumerate();
            triggers.find(|(_, spec)| spec.name == *trigger)
        });
        let missing = found.map(|(_, it)| missing(&it.on, &filled));
        let missing = missing.unwrap_or_default();
        let within = found.and_then(|(_, it)| it.within);
        let reset = spec.as_ref().zip(found).zip(since);
        let reset = reset.and_then(|((flow, (place, _)), since)| reset_after(flow, place, since));
        let ends = within.zip(since).map(|(within, since)| since + within);
        let reason = match reset {
            Some(at) if ends.is_none_or(|it| at < it) => Reason::SetReset { at, missing },
            _ => Reason::SetExpired {
                within: within.unwrap_or_default(),
                missing,
            },
        };
        self.drop_set(flow, trigger, join_key, &reason);
    }

    /// Half-matched sets of triggers that are no longer what they were.
    pub(super) fn drop_changed_sets(&mut self, old: Option<&Flow>, new: &Flow) {
        let Some(old) = old else {
            return;
        };
        for trigger in &old.spec().triggers {
            if new.spec().triggers.contains(trigger) {
                continue;
            }
            let first = (
                new.name().clone(),
                trigger.name.clone(),
                String::new(),
                0,
                0,
            );
            let keys: Vec<String> = self
                .s
                .half_matches
                .range(first..)
                .take_while(|((flow, name, ..), _)| flow == new.name() && *name == trigger.name)
                .map(|((_, _, key, ..), _)| key.clone())
                .collect();
            for key in keys {
                self.drop_set(new.name(), &trigger.name, &key, &Reason::ScheduleChanged);
            }
        }
    }

    fn drop_set(
        &mut self,
        flow: &FlowName,
        trigger: &TriggerName,
        join_key: &str,
        reason: &Reason,
    ) {
        for (leaf, event) in self.set(flow, trigger, join_key) {
            self.put_match(MatchRow {
                event: event.seq,
                flow: flow.clone(),
                trigger: trigger.clone(),
                leaf,
                outcome: MatchOutcome::Expired,
                reason: Some(reason.clone()),
                run: None,
                updated_at: self.now,
            });
        }
        self.clear_set(flow, trigger, join_key);
    }

    fn put_match(&mut self, row: MatchRow) {
        // One draft may decide the same place twice; of several rows with one key the last one counts.
        self.changes.matches.push(row);
    }

    // Half-matched sets.

    fn set(
        &self,
        flow: &FlowName,
        trigger: &TriggerName,
        join_key: &str,
    ) -> BTreeMap<u16, Arc<EventRow>> {
        self.set_rows(flow, trigger, join_key)
            .map(|row| (row.leaf, row.event.clone()))
            .collect()
    }

    fn set_since(
        &self,
        flow: &FlowName,
        trigger: &TriggerName,
        join_key: &str,
    ) -> Option<Timestamp> {
        self.set_rows(flow, trigger, join_key)
            .map(|row| row.event.received_at)
            .min()
    }

    fn set_rows(
        &self,
        flow: &FlowName,
        trigger: &TriggerName,
        join_key: &str,
    ) -> impl Iterator<Item = &Arc<HalfMatchRow>> {
        let first = (flow.clone(), trigger.clone(), join_key.to_owned(), 0, 0);
        let last = (
            flow.clone(),
            trigger.clone(),
            join_key.to_owned(),
            u16::MAX,
            u64::MAX,
        );
        self.s.half_matches.range(first..=last).map(|(_, row)| row)
    }

    fn put_half_match(&mut self, row: HalfMatchRow) {
        self.unset_timer(&row.flow, &row.trigger, &row.join_key);
        let key = (
            row.flow.clone(),
            row.trigger.clone(),
            row.join_key.clone(),
            row.leaf,
            row.event.seq,
        );
        let older: Vec<_> = self
            .set_rows(&key.0, &key.1, &key.2)
            .filter(|it| it.leaf == key.3)
            .map(|it| it.event.seq)
            .collect();
        for event in older {
            let key = (key.0.clone(), key.1.clone(), key.2.clone(), key.3, event);
            self.s.half_matches.remove(&key);
            self.changes.half_matches_deleted.push(key);
        }
        self.changes.half_matches_deleted.retain(|it| *it != key);
        self.changes.half_matches.retain(|it| {
            (&it.flow, &it.trigger, &it.join_key, it.leaf) != (&key.0, &key.1, &key.2, key.3)
        });
        self.changes.half_matches.push(row.clone());
        self.s.half_matches.insert(key.clone(), Arc::new(row));
        if let Some(timer) = self.s.half_match_timer(&key.0, &key.1, &key.2) {
            self.s.timers.insert(timer);
        }
    }

    fn clear_set(&mut self, flow: &FlowName, trigger: &TriggerName, join_key: &str) {
        self.unset_timer(flow, trigger, join_key);
        let leaves: Vec<(u16, u64)> = self
            .set_rows(flow, trigger, join_key)
            .map(|row| (row.leaf, row.event.seq))
            .collect();
        for (leaf, event) in leaves {
            let key = (
                flow.clone(),
                trigger.clone(),
                join_key.to_owned(),
                leaf,
                event,
            );
            self.s.half_matches.remove(&key);
            self.changes.half_matches.retain(|it| {
                (&it.flow, &it.trigger, &it.join_key, it.leaf) != (&key.0, &key.1, &key.2, key.3)
            });
            self.changes.half_matches_deleted.push(key);
        }
    }

    fn unset_timer(&mut self, flow: &FlowName, trigger: &TriggerName, join_key: &str) {
        if let Some((at, timer @ Timer::HalfMatch(..))) =
            self.s.half_match_timer(flow, trigger, join_key)
        {
            self.s.timers.remove(&(at, timer));
        }
    }
}

/// The flow whose run's end an event tells.
fn upstream(event: &EventRow) -> Option<&str> {
    (event.kind == RUN_ENDED && event.source.starts_with("dalsegno:flow/"))
        .then(|| event.data["flow"].as_str())
        .flatten()
}

/// The flow whose run's end an event from elsewhere tells: Metaflow emits it under this name, and only of successes.
fn foreign_upstream(event: &EventRow) -> Option<FlowName> {
    let ours = event.source.starts_with("dalsegno:");
    ended_flow(&event.kind).filter(|_| !ours)
}

/// `metaflow.<flow>.end` is what Metaflow calls the end of a run of that flow.
pub(crate) fn ended_flow(kind: &str) -> Option<FlowName> {
    let name = kind.strip_prefix("metaflow.")?.strip_suffix(".end")?;
    Some(FlowName::new(name))
}

/// When a half-matched set that began at this moment is over.
fn expiry(flow: &Flow, trigger: usize, since: Timestamp) -> Option<Timestamp> {
    let within = flow.spec().triggers[trigger].within;
    let ends = [
        within.map(|it| since + it),
        reset_after(flow, trigger, since),
    ];
    ends.into_iter().flatten().min()
}

fn reset_after(flow: &Flow, trigger: usize, since: Timestamp) -> Option<Timestamp> {
    flow.reset(trigger)?.next_after(since)
}

fn passes(flow: &FlowSpec, leaf: &TriggerLeaf, event: &EventRow) -> Result<(), Reason> {
    if let EventSource::Flow { on, .. } = &leaf.source {
        let state = match foreign_upstream(event) {
            Some(_) => "succeeded",
            None => event.data["state"].as_str().unwrap_or_default(),
        };
        let counts = match on {
            FlowEnd::Succeeded => state == "succeeded",
            FlowEnd::Failed => state == "failed" || state == "timed_out",
            FlowEnd::Finished => true,
        };
        if !counts {
            let on = serde_json::to_value(on).unwrap_or_default();
            let expression = format!(
                "on: {}, and the run {state}",
                on.as_str().unwrap_or_default()
            );
            return Err(Reason::FilterFalse { expression });
        }
    }
    for (param, field) in &leaf.fields {
        let needed = |it: &&ParamSpec| it.name == *param && it.default.is_none() && !it.optional;
        if field_of(event, field).is_none() && flow.params.iter().any(|it| needed(&it)) {
            let (field, param) = (field.clone(), param.clone());
            return Err(Reason::FieldMissing { field, param });
        }
    }
    let Some(filter) = &leaf.filter else {
        return Ok(());
    };
    match filter.eval_bool(&event_scope(event)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Reason::FilterFalse {
            expression: filter.source().to_owned(),
        }),
        Err(error) => Err(Reason::FilterFailed {
            message: error.to_string(),
        }),
    }
}

fn join_key(spec: &TriggerSpec, leaf: &TriggerLeaf, event: &EventRow) -> Result<String, Reason> {
    match (spec.join_on, &leaf.join) {
        (JoinOn::Interval, _) => {
            Ok(interval_of(event).map_or_else(String::new, |it| it.start.to_string()))
        }
        (JoinOn::None, _) | (JoinOn::Expr, None) => Ok(String::new()),
        (JoinOn::Expr, Some(expr)) => match expr.eval(&event_scope(event)) {
            Ok(value) => {
                let key = crate::expr::plain(&value);
                if key.len() > KEY_BYTES_MAX {
                    let message =
                        format!("join_on: a value of at most {KEY_BYTES_MAX} bytes is expected");
                    return Err(Reason::FilterFailed { message });
                }
                Ok(key)
            }
            Err(error) => Err(Reason::FilterFailed {
                message: format!("join_on: {error}"),
            }),
        },
    }
}

/// The data interval that an event is about, if it says so.
fn interval_of(event: &EventRow) -> Option<Interval> {
    let at = |name: &str| Timestamp::parse_rfc3339(event.data["interval"][name].as_str()?);
    let (start, end) = (at("start")?, at("end")?);
    Some(Interval { start, end })
}

fn event_scope(event: &EventRow) -> Scope {
    [("event", event_json(event))].into()
}

/// An event as expressions and tasks see it: CloudEvents attributes and the data.
pub(crate) fn event_json(event: &EventRow) -> Value {
    json!({
        "specversion": "1.0",
        "source": event.source,
        "id": event.id,
        "type": event.kind,
        "subject": event.subject,
        "time": event.time.to_string(),
        "data": *event.data,
    })
}

fn is_satisfied(expr: &TriggerExpr, filled: &BTreeMap<u16, Arc<EventRow>>) -> bool {
    fn walk(expr: &TriggerExpr, next: &mut u16, filled: &BTreeMap<u16, Arc<EventRow>>) -> bool {
        match expr {
            TriggerExpr::Leaf(_) => {
                *next += 1;
                filled.contains_key(&(*next - 1))
            }
            // All parts are walked, so that the leaves keep their numbers.
            TriggerExpr::AllOf(parts) | TriggerExpr::AnyOf(parts) => {
                let walked: Vec<bool> = parts.iter().map(|it| walk(it, next, filled)).collect();
                match expr {
                    TriggerExpr::AnyOf(_) => walked.contains(&true),
                    _ => !walked.contains(&false),
                }
            }
        }
    }
    walk(expr, &mut 0, filled)
}

/// What a set still needs, in words: `flow b`, `event x or event y`.
pub(crate) fn missing(expr: &TriggerExpr, filled: &BTreeMap<u16, Arc<EventRow>>) -> Vec<String> {
    fn walk(
        expr: &TriggerExpr,
        next: &mut u16,
        filled: &BTreeMap<u16, Arc<EventRow>>,
    ) -> Vec<String> {
        match expr {
            TriggerExpr::Leaf(leaf) => {
                *next += 1;
                if filled.contains_key(&(*next - 1)) {
                    return Vec::new();
                }
                vec![match &leaf.source {
                    EventSource::Flow { flow, .. } => format!("flow {flow}"),
                    EventSource::Event { kind } => format!("event {kind}"),
                    EventSource::Object { bucket, key } => format!("s3://{bucket}/{}", key.0),
                    EventSource::Dataset { namespace, name } => {
                        format!("data set {namespace}/{name}")
                    }
                    EventSource::After { time } => format!("{time}"),
                }]
            }
            TriggerExpr::AllOf(parts) => parts
                .iter()
                .flat_map(|part| walk(part, next, filled))
                .collect(),
            TriggerExpr::AnyOf(parts) => {
                let texts: Vec<Vec<String>> =
                    parts.iter().map(|part| walk(part, next, filled)).collect();
                if texts.iter().any(Vec::is_empty) {
                    return Vec::new();
                }
                let choices: Vec<String> = texts.iter().map(|it| it.join(" and ")).collect();
                vec![choices.join(" or ")]
            }
        }
    }
    walk(expr, &mut 0, filled)
}

/// A field of an event's data; one that is null is not there.
fn field_of<'a>(event: &'a EventRow, field: &str) -> Option<&'a Value> {
    event.data.get(field).filter(|it| !it.is_null())
}

/// Flow parameters taken from the events of a complete set.
fn given(
    flow: &Flow,
    spec: &TriggerSpec,
    filled: &BTreeMap<u16, Arc<EventRow>>,
    interval: Interval,
    run: u64,
) -> Result<Map<String, Value>, Reason> {
    let mut given = Map::new();
    let events: Vec<Arc<EventRow>> = filled.values().cloned().collect();
    let leaves = spec.on.leaves();
    for (leaf, event) in filled {
        let leaf = leaves[usize::from(*leaf)];
        for (name, field) in &leaf.fields {
            let declared = flow.spec().params.iter().find(|it| it.name == *name);
            if let (Some(value), Some(param)) = (field_of(event, field), declared) {
                given.insert(name.clone(), params::from_field(param.kind, value));
            }
        }
        let mut scope = params::scope(interval, &events, run, flow.name());
        scope.insert("event", event_json(event));
        for (name, template) in &leaf.params {
            let value = template.eval(&scope).map_err(|error| Reason::BadParams {
                message: format!("{name}: {error}"),
            })?;
            given.insert(name.clone(), value);
        }
    }
    Ok(given)
}
