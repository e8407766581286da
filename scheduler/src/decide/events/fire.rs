//! A trigger sees an event; sets fire, are held, or lose events whose time is over.

use super::super::Draft;
use super::super::runs::Arrival;
use super::leaf::{Seen, Verdict, event_at, field_of, interval_of, keys_elsewhere};
use super::listen::may_listen;
use super::sets::{SET_EVENTS_MAX, half_key};
use super::standing::{Next, Queues, Standing, missing_of, selection};
use crate::flow::Flow;
use crate::id::{FlowName, RunId};
use crate::params;
use crate::reason::Reason;
use crate::row::{
    EventRow, HalfMatchRow, Interval, MatchOutcome, MatchRow, OccurrenceRow, OccurrenceState,
};
use crate::spec::{BlackoutAction, Consume, TriggerSpec};
use crate::state::{SetKey, Timer};
use crate::time::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Events that a set gives to one run.
pub(super) struct Taken {
    /// Leaf and event, by leaf and number.
    pub(super) used: Vec<(u16, Arc<EventRow>)>,
    /// Leaves that the same events also stood at: they are used up there too.
    pub(super) noted: Vec<(u16, u64)>,
    /// What was taken out of queues for it, and of which sets.
    pub(super) rows: Vec<(SetKey, Arc<HalfMatchRow>)>,
}

/// Why what is complete may not fire now.
pub(super) enum Hold {
    /// It waits, in a blackout until its end.
    Wait(Reason, Option<Timestamp>),
    Skip(Reason),
}

/// What came of events.
#[derive(Clone)]
pub(super) struct Fired {
    pub(super) outcome: MatchOutcome,
    pub(super) reason: Option<Reason>,
    pub(super) run: Option<RunId>,
}

impl Draft {
    /// Lets the leaves of one trigger that listen to an event see it.
    pub(super) fn offer(&mut self, name: &FlowName, trigger: usize, leaves: &[u16], seen: &Seen) {
        let state = self.s.flows.get(name).expect("a subscriber exists");
        let flow = state.flow.clone().expect("a subscriber has a version");
        let spec = &flow.spec().triggers[trigger];
        let event = &seen.event;
        let all = spec.on.leaves();
        let place = MatchRow {
            event: event.seq,
            flow: name.clone(),
            trigger: spec.name.clone(),
            leaf: 0,
            outcome: MatchOutcome::Filtered,
            reason: None,
            run: None,
            updated_at: self.now,
        };
        // Mostly one set; several where leaves of one trigger have join keys of their own.
        let mut sets: Vec<(SetKey, Vec<u16>)> = Vec::new();
        for &leaf in leaves {
            match seen.judge(flow.spec(), spec, all[usize::from(leaf)]) {
                Verdict::NotMeant => {}
                Verdict::Filtered(reason) => self.put_match(MatchRow {
                    leaf,
                    reason: Some(reason),
                    ..place.clone()
                }),
                Verdict::Counts(key) => match sets.iter_mut().find(|it| *it.0.2 == *key) {
                    Some((_, leaves)) => leaves.push(leaf),
                    None => {
                        let set = (name.clone(), spec.name.clone(), key.into());
                        sets.push((set, vec![leaf]));
                    }
                },
            }
        }
        // An event is used up by the run that it starts; the trigger's other leaves only note it.
        let mut fired: Option<Fired> = None;
        for (set, leaves) in sets {
            if fired.is_none() {
                fired = self.arrive_at(&flow, trigger, &set, &leaves, event);
                if fired.is_some() {
                    continue;
                }
                let (outcome, reason) = (MatchOutcome::Waiting, self.why_waiting(&set));
                for leaf in leaves {
                    // With a full set it may be gone already.
                    let key = half_key(&set, leaf, event.seq);
                    if self.s.half_matches.contains_key(&key) {
                        let reason = reason.clone();
                        self.put_match(MatchRow {
                            leaf,
                            outcome,
                            reason,
                            ..place.clone()
                        });
                    }
                }
                continue;
            }
            for leaf in leaves {
                let fired = fired.clone().expect("looked at above");
                self.put_match(MatchRow {
                    leaf,
                    outcome: fired.outcome,
                    reason: fired.reason,
                    run: fired.run,
                    ..place.clone()
                });
            }
        }
    }

    /// An event comes to leaves of one set. Gives what came of it, unless it waits.
    fn arrive_at(
        &mut self,
        flow: &Arc<Flow>,
        trigger: usize,
        set: &SetKey,
        leaves: &[u16],
        event: &Arc<EventRow>,
    ) -> Option<Fired> {
        let spec = &flow.spec().triggers[trigger];
        // What is due comes first, whether its timer was looked at yet or not.
        let due = self.s.sets.get(set).and_then(|it| it.due);
        if due.is_some_and(|at| at <= self.now) {
            self.pump(set, 0);
        }
        let now = self.now;
        let row = |leaf: u16| HalfMatchRow {
            flow: set.0.clone(),
            trigger: set.1.clone(),
            join_key: set.2.to_string(),
            leaf,
            event: event.clone(),
            expires_at: expiry(flow, trigger, now),
        };
        if !self.s.sets.contains_key(set) {
            // The most common case: what completes its set at once never stands in it.
            let mut queues = Queues {
                events: leaves.len() as u32,
                leaves: vec![None; spec.on.leaves().len()],
            };
            for leaf in leaves {
                queues.add(&Arc::new(row(*leaf)));
            }
            let fires = Standing::of(spec, &queues).next(self.now) == Next::Fire;
            if fires && self.hold_now(&set.0).is_none() {
                let mut used = leaves.to_vec();
                if spec.consume.is_each() && spec.debounce.is_none() {
                    used = selection(spec, &queues, self.now).expect("it is complete");
                }
                let (used, noted): (Vec<u16>, Vec<u16>) =
                    leaves.iter().partition(|it| used.contains(it));
                let mut taken = Taken {
                    used: used.into_iter().map(|it| (it, event.clone())).collect(),
                    noted: noted.into_iter().map(|it| (it, event.seq)).collect(),
                    rows: Vec::new(),
                };
                self.use_up_elsewhere(spec, set, &mut taken);
                return Some(self.start_set(flow, trigger, set, taken));
            }
        }
        for &leaf in leaves {
            let oldest = || self.s.queue_of(set, leaf).next().cloned();
            let events = self.s.sets.get(set).map_or(0, |it| it.events);
            if spec.consume == Consume::Latest {
                if let Some(older) = oldest() {
                    let reason = Reason::ReplacedByEvent { event: event.seq };
                    self.drop_waiting(set, &older, MatchOutcome::Replaced, reason);
                }
            } else if events >= SET_EVENTS_MAX
                && let Some(older) = oldest()
            {
                let kept = SET_EVENTS_MAX;
                let reason = Reason::TooManyWaiting { kept };
                self.drop_waiting(set, &older, MatchOutcome::Refused, reason);
            }
            self.put_waiting(set, row(leaf));
        }
        let fired = self.pump(set, event.seq);
        self.bound_held(set);
        fired
    }

    /// Does whatever is to be done with a set now. Gives what came of an event, if it was used.
    pub(super) fn pump(&mut self, set: &SetKey, event: u64) -> Option<Fired> {
        let mut told = None;
        let (flow, trigger) = self.s.trigger_of(set)?;
        let flow = flow.clone();
        let spec = &flow.spec().triggers[trigger];
        while self.s.sets.get(set).is_some_and(|it| it.events > 0) {
            let queues = self.s.queues(set, spec.on.leaves().len());
            match Standing::of(spec, &queues).next(self.now) {
                Next::Wait => {
                    self.s.mark_held(set, false);
                    break;
                }
                Next::Expire => self.expire(&flow, trigger, set, &queues),
                Next::Fire => {
                    let fired = match self.hold_now(&set.0) {
                        Some(Hold::Wait(reason, until)) => {
                            self.hold(spec, set, &queues, &reason, until);
                            break;
                        }
                        Some(Hold::Skip(reason)) => {
                            let taken = self.take(spec, set, &queues);
                            let seqs = taken.seqs();
                            (self.refuse_set(set, &taken, reason), seqs)
                        }
                        None => {
                            let taken = self.take(spec, set, &queues);
                            let seqs = taken.seqs();
                            (self.start_set(&flow, trigger, set, taken), seqs)
                        }
                    };
                    if fired.1.contains(&event) {
                        told = Some(fired.0);
                    }
                }
            }
        }
        self.s.time_set(set);
        told
    }

    /// A set's timer has come.
    pub(in crate::decide) fn set_due(&mut self, set: &SetKey) {
        // The timer was taken out; if nothing changes it must come back.
        if let Some(state) = self.s.sets.get_mut(set) {
            state.due = None;
        }
        if self.s.trigger_of(set).is_some() {
            self.pump(set, 0);
        }
    }

    /// Whether something keeps complete sets of a flow from firing.
    pub(super) fn hold_now(&self, flow: &FlowName) -> Option<Hold> {
        let paused = self.s.flows.get(flow).and_then(|it| it.row.paused.clone());
        if let Some(paused) = paused {
            let reason = Reason::FlowPaused {
                by: paused.by,
                reason: paused.reason,
            };
            return Some(Hold::Wait(reason, None));
        }
        let (name, action, until) = self.blackout_now(flow)?;
        let reason = Reason::Blackout { name, until };
        Some(match action {
            BlackoutAction::Defer => Hold::Wait(reason, until),
            BlackoutAction::Skip => Hold::Skip(reason),
        })
    }

    fn hold(
        &mut self,
        spec: &TriggerSpec,
        set: &SetKey,
        queues: &Queues,
        reason: &Reason,
        until: Option<Timestamp>,
    ) {
        if let Some(until) = until {
            let timer = Timer::BlackoutOver(set.0.clone());
            self.s.timers.insert((until, timer));
        }
        if self.s.sets.get(set).is_some_and(|it| it.held) {
            return;
        }
        self.s.mark_held(set, true);
        // Those that stand first say what they wait for now.
        for leaf in selection(spec, queues, self.now).unwrap_or_default() {
            let head = queues.leaves[usize::from(leaf)].as_ref();
            let head = head.expect("what is selected stands there").oldest.clone();
            self.put_match(MatchRow {
                event: head.event.seq,
                flow: set.0.clone(),
                trigger: set.1.clone(),
                leaf,
                outcome: MatchOutcome::Waiting,
                reason: Some(reason.clone()),
                run: None,
                updated_at: self.now,
            });
        }
    }

    /// Why the events of a set wait.
    fn why_waiting(&self, set: &SetKey) -> Option<Reason> {
        if self.s.sets.get(set).is_some_and(|it| it.held)
            && let Some(Hold::Wait(reason, _)) = self.hold_now(&set.0)
        {
            return Some(reason);
        }
        let (flow, trigger) = self.s.trigger_of(set)?;
        let spec = &flow.spec().triggers[trigger];
        let queues = self.s.queues(set, spec.on.leaves().len());
        let standing = Standing::of(spec, &queues);
        Some(match standing.fires_at {
            Some(until) if standing.is_complete(self.now) => Reason::Gathering { until },
            _ => Reason::WaitingFor {
                missing: missing_of(spec, &queues, self.now),
            },
        })
    }

    /// Takes the events of a complete set's next run out of their queues.
    pub(super) fn take(&mut self, spec: &TriggerSpec, set: &SetKey, queues: &Queues) -> Taken {
        let selected = selection(spec, queues, self.now).unwrap_or_default();
        let head = |leaf: u16| {
            let queue = queues.leaves[usize::from(leaf)].as_ref();
            (
                leaf,
                queue
                    .expect("what is selected stands there")
                    .oldest
                    .event
                    .clone(),
            )
        };
        let heads = selected.into_iter().map(head);
        let used: Vec<(u16, Arc<EventRow>)> = match (spec.consume, spec.debounce) {
            (Consume::Each, None) => heads.collect(),
            (Consume::Batch { max, .. }, _) => {
                self.oldest(set, queues, heads.collect(), max as usize)
            }
            (Consume::Each | Consume::Latest, _) => {
                let rows = self.s.rows_of(set);
                rows.map(|row| (row.leaf, row.event.clone())).collect()
            }
        };
        self.use_up(spec, set, used)
    }

    /// The events that complete a set, and the oldest others up to a number of them all.
    fn oldest(
        &self,
        set: &SetKey,
        queues: &Queues,
        heads: Vec<(u16, Arc<EventRow>)>,
        max: usize,
    ) -> Vec<(u16, Arc<EventRow>)> {
        let mut seqs: BTreeSet<u64> = heads.iter().map(|(_, event)| event.seq).collect();
        let mut used: BTreeMap<(u16, u64), Arc<EventRow>> = BTreeMap::new();
        for (leaf, event) in heads {
            used.insert((leaf, event.seq), event);
        }
        let mut rest: Vec<_> = (0..queues.leaves.len())
            .map(|leaf| self.s.queue_of(set, leaf as u16).peekable())
            .collect();
        loop {
            let first = rest.iter_mut().enumerate().filter_map(|(leaf, queue)| {
                let row = queue.peek()?;
                Some((row.event.seq, leaf))
            });
            let Some((seq, leaf)) = first.min() else {
                break;
            };
            let row = rest[leaf].next().expect("just looked at");
            if !seqs.contains(&seq) {
                if seqs.len() >= max {
                    break;
                }
                seqs.insert(seq);
            }
            used.insert((row.leaf, seq), row.event.clone());
        }
        let used = used.into_iter();
        used.map(|((leaf, _), event)| (leaf, event)).collect()
    }

    /// Takes events out of their queues, at every leaf of the trigger that they stand at.
    pub(super) fn use_up(
        &mut self,
        spec: &TriggerSpec,
        set: &SetKey,
        used: Vec<(u16, Arc<EventRow>)>,
    ) -> Taken {
        let mut rows = Vec::new();
        for (leaf, event) in &used {
            let row = self.remove_waiting(set, *leaf, event.seq);
            rows.extend(row.map(|it| (set.clone(), it)));
        }
        let mut noted = Vec::new();
        let leaves = spec.on.leaves().len() as u16;
        if leaves > 1 {
            for (_, event) in &used {
                for leaf in 0..leaves {
                    if let Some(row) = self.remove_waiting(set, leaf, event.seq) {
                        noted.push((leaf, event.seq));
                        rows.push((set.clone(), row));
                    }
                }
            }
        }
        let mut taken = Taken { used, noted, rows };
        self.use_up_elsewhere(spec, set, &mut taken);
        taken
    }

    /// Takes events out of the trigger's other sets, in which they stand where its leaves join by different things.
    fn use_up_elsewhere(&mut self, spec: &TriggerSpec, set: &SetKey, taken: &mut Taken) {
        let mut others = BTreeSet::new();
        for (_, event) in &taken.used {
            for (leaf, key) in keys_elsewhere(spec, event, &set.2) {
                let other = (set.0.clone(), set.1.clone(), key.into());
                if let Some(row) = self.remove_waiting(&other, leaf, event.seq) {
                    taken.noted.push((leaf, event.seq));
                    taken.rows.push((other.clone(), row));
                    others.insert(other);
                }
            }
        }
        for other in others {
            self.settle_smaller(&other);
        }
    }

    /// Events that were taken start a run, or are on record with the reason why not.
    pub(super) fn start_set(
        &mut self,
        flow: &Flow,
        trigger: usize,
        set: &SetKey,
        taken: Taken,
    ) -> Fired {
        let fired = self.start_late(flow, trigger, set, taken);
        let spec = &flow.spec().triggers[trigger];
        if let (Some(run), Some(_)) = (fired.run, spec.on_deadline) {
            self.deadline_met(flow.name(), &spec.name, run);
        }
        fired
    }

    /// The same for a deadline that is over, which such a run does not meet.
    pub(super) fn start_late(
        &mut self,
        flow: &Flow,
        trigger: usize,
        set: &SetKey,
        taken: Taken,
    ) -> Fired {
        let spec = &flow.spec().triggers[trigger];
        let name = flow.name();
        let mut events: Vec<Arc<EventRow>> = taken.used.iter().map(|it| it.1.clone()).collect();
        let interval = events.iter().find_map(|it| interval_of(it));
        events.sort_by_key(|it| it.seq);
        events.dedup_by_key(|it| it.seq);
        let newest = events.last().map(|it| it.seq).unwrap_or_default();
        let interval = interval.unwrap_or(Interval {
            start: self.now,
            end: self.now,
        });
        let key = format!("event:{}:{newest}", spec.name);
        let params = given(
            flow,
            spec,
            &taken.used,
            &events,
            interval,
            self.s.last_run + 1,
        );
        let result = match params {
            Ok(params) => self.arrive(Arrival {
                flow: name.clone(),
                key,
                trigger: spec.name.clone(),
                due_at: self.now,
                interval,
                params,
                events,
                before: None,
            }),
            Err(reason) => {
                self.put_occurrence(OccurrenceRow {
                    flow: name.clone(),
                    key,
                    trigger: spec.name.clone(),
                    due_at: self.now,
                    interval,
                    state: OccurrenceState::Skipped,
                    reason: Some(reason.clone()),
                    run: None,
                    updated_at: self.now,
                    since: interval.end,
                });
                Err(reason)
            }
        };
        match result {
            Ok(run) => self.note(set, &taken, MatchOutcome::Fired, None, Some(run)),
            Err(reason) => self.note(set, &taken, MatchOutcome::Refused, Some(reason), None),
        }
    }

    pub(super) fn refuse_set(&mut self, set: &SetKey, taken: &Taken, reason: Reason) -> Fired {
        self.note(set, taken, MatchOutcome::Refused, Some(reason), None)
    }

    /// What came of events at each leaf that they stood at.
    fn note(
        &mut self,
        set: &SetKey,
        taken: &Taken,
        outcome: MatchOutcome,
        reason: Option<Reason>,
        run: Option<RunId>,
    ) -> Fired {
        let used = taken.used.iter().map(|(leaf, event)| (*leaf, event.seq));
        for (leaf, event) in used.chain(taken.noted.iter().copied()) {
            self.put_match(MatchRow {
                event,
                flow: set.0.clone(),
                trigger: set.1.clone(),
                leaf,
                outcome,
                reason: reason.clone(),
                run,
                updated_at: self.now,
            });
        }
        Fired {
            outcome,
            reason,
            run,
        }
    }

    /// The oldest events of a set whose time is over wait no longer.
    pub(super) fn expire(&mut self, flow: &Flow, trigger: usize, set: &SetKey, queues: &Queues) {
        let spec = &flow.spec().triggers[trigger];
        let missing = missing_of(spec, queues, self.now);
        let over = |row: &HalfMatchRow| row.expires_at.is_some_and(|at| at <= self.now);
        let rows: Vec<Arc<HalfMatchRow>> = (0..queues.leaves.len())
            .flat_map(|leaf| {
                let queue = self.s.queue_of(set, leaf as u16);
                queue
                    .take_while(|row| over(row))
                    .cloned()
                    .collect::<Vec<_>>()
            })
            .collect();
        for row in rows {
            let (missing, since) = (missing.clone(), row.event.received_at);
            let ends = spec.within.map(|within| since + within);
            let reason = match reset_after(flow, trigger, since) {
                Some(at) if ends.is_none_or(|it| at < it) => Reason::SetReset { at, missing },
                _ => Reason::SetExpired {
                    within: spec.within.unwrap_or_default(),
                    missing,
                },
            };
            self.drop_waiting(set, &row, MatchOutcome::Expired, reason);
        }
    }
}

impl Taken {
    fn seqs(&self) -> BTreeSet<u64> {
        self.used.iter().map(|(_, event)| event.seq).collect()
    }
}

/// Whether an event would wait at the same place, and as long, if it came to this version of its flow.
pub(super) fn stands_still(flow: &Flow, trigger: usize, row: &HalfMatchRow) -> bool {
    let spec = &flow.spec().triggers[trigger];
    let Some(leaf) = spec.on.leaves().get(usize::from(row.leaf)).copied() else {
        return false;
    };
    let seen = Seen::new(row.event.clone());
    may_listen(leaf, &row.event)
        && matches!(seen.judge(flow.spec(), spec, leaf), Verdict::Counts(key) if key == row.join_key)
        && expiry(flow, trigger, row.event.received_at) == row.expires_at
}

/// When an event that arrived at this moment has waited too long.
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

/// Flow parameters taken from the events of a set: of each leaf from its newest one.
pub(in crate::decide) fn given(
    flow: &Flow,
    spec: &TriggerSpec,
    used: &[(u16, Arc<EventRow>)],
    events: &[Arc<EventRow>],
    interval: Interval,
    run: u64,
) -> Result<Map<String, Value>, Reason> {
    let mut given = Map::new();
    let leaves = spec.on.leaves();
    let newest: BTreeMap<u16, &Arc<EventRow>> = used.iter().map(|(leaf, it)| (*leaf, it)).collect();
    // Thousands of events are made into JSON only for those that ask for them.
    let asked = newest
        .keys()
        .filter_map(|leaf| leaves.get(usize::from(*leaf)))
        .any(|leaf| !leaf.params.is_empty());
    let mut scope = match asked {
        true => params::scope(interval, events, run, flow.name()),
        false => BTreeMap::new(),
    };
    for (leaf, event) in newest {
        let Some(leaf) = leaves.get(usize::from(leaf)) else {
            continue;
        };
        for (name, field) in &leaf.fields {
            let declared = flow.spec().params.iter().find(|it| it.name == *name);
            if let (Some(value), Some(param)) = (field_of(event, field), declared) {
                given.insert(name.clone(), params::from_field(param.kind, value));
            }
        }
        if leaf.params.is_empty() {
            continue;
        }
        scope.insert("event", event_at(leaf, event));
        for (name, template) in &leaf.params {
            let value = template.eval(&scope).map_err(|error| Reason::BadParams {
                message: format!("{name}: {error}"),
            })?;
            given.insert(name.clone(), value);
        }
    }
    Ok(given)
}
