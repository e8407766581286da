//! Planning: which intervals there are, what of them is there already, and what would run.

use super::chain::{Chain, Link};
use super::{
    BACKFILL_ITEMS_MAX, BACKFILL_PARALLEL_MAX, ExistingRun, History, PastRun, Plan, PlanItem,
    PlanPast, PlanRequest, Verdict,
};
use crate::flow::Flow;
use crate::id::FlowName;
use crate::input::Rejected;
use crate::params;
use crate::reason::Reason;
use crate::row::{BackfillMode, Interval, OccurrenceRow, RunState};
use crate::schedule::Schedule;
use crate::spec::ScheduleSpec;
use crate::state::Scheduler;
use crate::time::{Span, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How many conflicts are told one by one.
const CONFLICTS_MAX: usize = 100;

const TICK: Span = Span(1);

/// Runs by flow and interval, newest first.
type Past<'a> = BTreeMap<(&'a FlowName, Interval), Vec<&'a History>>;

impl Scheduler {
    /// What a plan must know of the past; asked before the past is read, for it refuses what could not be planned.
    ///
    /// # Errors
    /// As [`Self::plan_backfill`].
    pub fn backfill_past(
        &self,
        request: &PlanRequest,
        now: Timestamp,
    ) -> Result<PlanPast, Rejected> {
        check(request)?;
        let flow = self.active(&request.flow)?;
        let (spec, schedule) = scheduled(&flow)?;
        let links = self.chain(&flow, &spec.name, request.downstream).links;
        let intervals = intervals(spec, schedule, request, now, links.len(), &mut Vec::new())?;
        let mut flows: Vec<FlowName> = Vec::new();
        for link in &links {
            flows.push(link.flow.name().clone());
            flows.extend(link.outside.iter().cloned());
        }
        flows.sort();
        flows.dedup();
        let first = intervals.first().map_or(request.from, |it| it.start);
        let last = intervals.last().map_or(first, |it| it.start + TICK);
        Ok(PlanPast {
            flows,
            from: first,
            to: last,
        })
    }

    /// Works out what a backfill would run. Reads only; the same flows, history and time give the same token.
    ///
    /// `history`: all runs that [`Self::backfill_past`] names. `durations`: how long a run of each flow usually takes.
    ///
    /// # Errors
    /// When there is no such flow, it has no schedule, the span is empty, or the plan would have too many items.
    pub fn plan_backfill(
        &self,
        request: &PlanRequest,
        history: &[History],
        durations: &BTreeMap<FlowName, Span>,
        now: Timestamp,
    ) -> Result<Plan, Rejected> {
        check(request)?;
        let flow = self.active(&request.flow)?;
        let (spec, schedule) = scheduled(&flow)?;
        let Chain { links, mut notes } = self.chain(&flow, &spec.name, request.downstream);
        if flow.spec().schedules.len() > 1 {
            let name = &spec.name;
            notes.push(format!(
                "{} has several schedules; the intervals are those of the first, {name}",
                request.flow
            ));
        }
        let intervals = intervals(spec, schedule, request, now, links.len(), &mut notes)?;
        for link in &links {
            notes.extend(self.notes_on(link.flow.name()));
        }

        let mut past: Past<'_> = BTreeMap::new();
        for run in history {
            past.entry((&run.flow, run.interval)).or_default().push(run);
        }
        for runs in past.values_mut() {
            runs.sort_by_key(|it| std::cmp::Reverse(it.run));
        }

        let mut items: Vec<PlanItem> = Vec::with_capacity(intervals.len() * links.len());
        let mut conflicts = Conflicts::default();
        let held: Vec<_> = links
            .iter()
            .map(|it| self.still_to_run(it.flow.name()))
            .collect();
        for interval in intervals {
            let first = items.len();
            for (link, held) in links.iter().zip(&held) {
                let item = self.item(request.mode, link, interval, first, &items, &past);
                let (mut item, mut conflict) = item;
                if item.verdict == Verdict::Run
                    && let Some(why) = held.get(&interval)
                {
                    item.verdict = Verdict::Conflict;
                    conflict = Some(why.clone());
                }
                conflicts.extend(conflict);
                items.push(item);
            }
        }
        if let Some(first) = items.iter().find(|it| it.verdict == Verdict::Run)
            && first.flow == request.flow
        {
            conflicts.extend(self.bad_params(&flow, spec, first.interval));
        }
        let mut plan = Plan {
            flow: request.flow.clone(),
            from: request.from,
            to: request.to,
            mode: request.mode,
            downstream: request.downstream,
            versions: links.iter().map(|it| self.version_in(it)).collect(),
            estimate: super::estimate::estimate(&items, durations, request.parallel),
            items,
            conflicts: conflicts.told(),
            notes,
            token: String::new(),
        };
        plan.token = plan.hash();
        Ok(plan)
    }

    fn version_in(&self, link: &Link) -> (FlowName, crate::id::Version) {
        let name = link.flow.name();
        let version = self.flows[name].row.active_version.clone();
        let version = version.expect("a flow with a graph has a version");
        (name.clone(), version)
    }

    fn notes_on(&self, name: &FlowName) -> Option<String> {
        let row = &self.flows.get(name)?.row;
        if row.invalid.is_some() {
            return Some(format!(
                "the file of {name} is not valid; its last good version runs"
            ));
        }
        row.paused.as_ref().map(|it| {
            format!(
                "{name} is paused by {}: that stops its schedules and triggers, not a backfill",
                it.by
            )
        })
    }

    /// One flow and interval; `first`: the place of this interval's first item.
    fn item(
        &self,
        mode: BackfillMode,
        link: &Link,
        interval: Interval,
        first: usize,
        items: &[PlanItem],
        past: &Past<'_>,
    ) -> (PlanItem, Option<String>) {
        let name = link.flow.name();
        let runs = past.get(&(name, interval)).map_or(&[][..], |it| it);
        let mut item = PlanItem {
            flow: name.clone(),
            interval,
            trigger: link.trigger.clone(),
            after: Vec::new(),
            upstream: Vec::new(),
            existing: runs.iter().map(|it| existing(it)).collect(),
            verdict: verdict(mode, runs),
        };
        let start = interval.start;
        let mut conflict = (item.verdict == Verdict::Conflict).then(|| {
            let unfinished = runs.iter().find(|it| !it.state.is_terminal());
            let run = unfinished.map_or(0, |it| it.run.0);
            format!("{name} {start}: run {run} is unfinished; wait for it, or cancel it")
        });
        if item.verdict != Verdict::Run {
            return (item, conflict);
        }
        if let Some(backfill) = self.backfill_of(name, interval) {
            conflict = Some(format!(
                "{name} {start}: backfill {backfill} has it still to run; wait for it, or cancel it"
            ));
        }
        let inside = link.inside.iter().map(|place| first + place);
        let mut stuck = false;
        let mut needed: Vec<&FlowName> = link.outside.iter().collect();
        for place in inside {
            match items[place].verdict {
                Verdict::Run => item.after.push(place as u32),
                Verdict::Keep => needed.push(&items[place].flow),
                // That was told already.
                Verdict::Conflict => stuck = true,
            }
        }
        for upstream in needed {
            let runs = past.get(&(upstream, interval)).map_or(&[][..], |it| it);
            match runs.iter().find(|it| it.state == RunState::Succeeded) {
                Some(run) => item.upstream.push(PastRun {
                    flow: upstream.clone(),
                    run: run.run,
                    params: run.params.clone(),
                }),
                None => {
                    conflict.get_or_insert_with(|| {
                        format!(
                            "{name} {start}: it follows from {upstream}, which has no run of this interval that succeeded"
                        )
                    });
                }
            }
        }
        if stuck || conflict.is_some() {
            item.verdict = Verdict::Conflict;
        }
        (item, conflict)
    }

    /// The intervals that a schedule of the flow may yet run by itself: why, and what to do about that.
    pub(crate) fn still_to_run(&self, name: &FlowName) -> BTreeMap<Interval, String> {
        let rows = self.expected_of(name, "cron:").into_iter();
        let told = |row: &OccurrenceRow| match &row.reason {
            None => {
                let at = self.fires_at(row);
                format!("its schedule runs it at {at}; leave it out, or wait for that run")
            }
            Some(reason @ Reason::Blackout { .. }) => {
                format!("held by {reason}, and then it may run; leave it out, or wait until then")
            }
            Some(reason) => format!(
                "held ({reason}), and the end of the pause may run it; `dalsegno unpause {name} --catch-up none` first, or leave it out"
            ),
        };
        rows.map(|row| {
            let text = format!("{name} {}: {}", row.interval.start, told(&row));
            (row.interval, text)
        })
        .collect()
    }

    fn bad_params(&self, flow: &Flow, spec: &ScheduleSpec, interval: Interval) -> Option<String> {
        let scope = params::scope(interval, &[], self.last_run + 1, flow.name());
        let given = params::evaluate(&spec.params, &scope);
        let errors = params::resolve(flow.spec(), &given, &scope).err()?;
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let (name, texts) = (flow.name(), texts.join("; "));
        Some(format!(
            "{name} {}: {texts}; give it a default, or a value in the schedule",
            interval.start
        ))
    }
}

fn check(request: &PlanRequest) -> Result<(), Rejected> {
    if request.from >= request.to {
        return Err(Rejected::Backfill(format!(
            "`from` is to be before `to`, and {} is not before {}",
            request.from, request.to
        )));
    }
    if !(1..=BACKFILL_PARALLEL_MAX).contains(&request.parallel) {
        return Err(Rejected::Backfill(format!(
            "`parallel` is to be 1 to {BACKFILL_PARALLEL_MAX}, and it is {}",
            request.parallel
        )));
    }
    Ok(())
}

fn scheduled(flow: &Flow) -> Result<(&ScheduleSpec, &Schedule), Rejected> {
    flow.schedules().next().ok_or_else(|| {
        let name = flow.name();
        let upstream = flow.spec().triggers.iter().flat_map(|it| it.on.leaves());
        let upstream = upstream.into_iter().find_map(|leaf| match &leaf.source {
            crate::spec::EventSource::Flow { flow, .. } => Some(flow),
            _ => None,
        });
        let cure = match upstream {
            Some(upstream) => format!("plan {upstream}, from which it follows, with downstream"),
            None => "give it a schedule".to_owned(),
        };
        Rejected::Backfill(format!(
            "flow `{name}` has no schedule, and so no intervals; {cure}"
        ))
    })
}

/// The data intervals of a schedule that begin in the span and are over, as its occurrences would have them.
fn intervals(
    spec: &ScheduleSpec,
    schedule: &Schedule,
    request: &PlanRequest,
    now: Timestamp,
    flows: usize,
    notes: &mut Vec<String>,
) -> Result<Vec<Interval>, Rejected> {
    let most = BACKFILL_ITEMS_MAX / flows;
    let (mut found, mut closed) = (Vec::new(), 0);
    let asked = schedule.next_after(request.from - TICK);
    // Of what ends before `start` there is nothing to look at, however long that was.
    let first = match spec.start.map(|it| schedule.next_after(it - TICK)) {
        Some(first) => first.map(|it| schedule.previous_before(it).unwrap_or(it)),
        None => asked,
    };
    let mut start = asked.zip(first).map(|(asked, first)| asked.max(first));
    let mut outside = asked != start;
    while let Some(at) = start.filter(|it| *it < request.to) {
        let Some(end) = schedule.next_after(at) else {
            break;
        };
        if spec.end.is_some_and(|it| end >= it) {
            outside = true;
            break;
        }
        if end > now {
            notes.push(format!(
                "intervals that end after now are left out, from {at} on; the schedule runs them"
            ));
            break;
        }
        // One that a calendar moves to another day is run, as the schedule would have run it.
        match schedule.closed_day(schedule.slot(end).due_at) {
            None => found.push(Interval { start: at, end }),
            Some(_) => closed += 1,
        }
        if found.len() > most {
            return Err(Rejected::Backfill(format!(
                "it would have more than {BACKFILL_ITEMS_MAX} items; choose a shorter span, such as until {at}"
            )));
        }
        if found.len() + closed > BACKFILL_ITEMS_MAX {
            return Err(Rejected::Backfill(format!(
                "it spans more than {BACKFILL_ITEMS_MAX} intervals, those of closed days included; choose a shorter span, such as until {at}"
            )));
        }
        start = Some(end);
    }
    if outside {
        notes.push(format!(
            "intervals before `start` or after `end` of schedule {} are left out",
            spec.name
        ));
    }
    if let (Some((calendar, _)), 1..) = (schedule.calendar(), closed) {
        notes.push(format!(
            "{closed} intervals are left out, for their runs would be on closed days of calendar {}",
            calendar.name()
        ));
    }
    Ok(found)
}

/// What the mode makes of the runs of one flow and interval, newest first.
fn verdict(mode: BackfillMode, runs: &[&History]) -> Verdict {
    let mut states = runs.iter().map(|it| it.state);
    let under_way = |state: RunState| !state.is_terminal();
    match mode {
        BackfillMode::All if states.any(under_way) => Verdict::Conflict,
        BackfillMode::All => Verdict::Run,
        BackfillMode::Missing if states.any(|it| it == RunState::Succeeded || under_way(it)) => {
            Verdict::Keep
        }
        BackfillMode::Missing => Verdict::Run,
        BackfillMode::Failed => match states.next() {
            None | Some(RunState::Succeeded) => Verdict::Keep,
            Some(newest) if under_way(newest) || states.any(under_way) => Verdict::Keep,
            Some(_) => Verdict::Run,
        },
    }
}

fn existing(run: &History) -> ExistingRun {
    ExistingRun {
        run: run.run,
        state: run.state,
    }
}

/// Conflicts, of which so many are told one by one.
#[derive(Default)]
struct Conflicts {
    texts: Vec<String>,
    more: usize,
}

impl Conflicts {
    fn extend(&mut self, conflict: Option<String>) {
        match conflict {
            Some(text) if self.texts.len() < CONFLICTS_MAX => self.texts.push(text),
            Some(_) => self.more += 1,
            None => {}
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.texts.push(format!("and {} more", self.more));
        }
        self.texts
    }
}

impl Plan {
    /// The token: two hashes of all that decides what would run.
    pub(crate) fn hash(&self) -> String {
        let mut text = String::with_capacity(self.items.len() * 64);
        write(&mut text, self).expect("a string takes all text");
        let (one, two) = (
            crate::hash::fnv(&text),
            crate::hash::fnv(&format!("{}/{text}", text.len())),
        );
        format!("{one:016x}{two:016x}")
    }
}

fn write(text: &mut String, plan: &Plan) -> std::fmt::Result {
    let Plan {
        flow,
        from,
        to,
        mode,
        downstream,
        ..
    } = plan;
    write!(text, "{flow} {} {} {mode} {downstream}", from.0, to.0)?;
    for (flow, version) in &plan.versions {
        write!(text, "\n{flow} {version}")?;
    }
    for item in &plan.items {
        let (start, end) = (item.interval.start.0, item.interval.end.0);
        let verdict = item.verdict as u8;
        write!(
            text,
            "\n{} {} {start} {end} {verdict}",
            item.flow, item.trigger
        )?;
        for place in &item.after {
            write!(text, " >{place}")?;
        }
        for it in &item.upstream {
            write!(text, " ^{} {}", it.flow, it.run)?;
        }
        for it in &item.existing {
            write!(text, " ={} {}", it.run, it.state)?;
        }
    }
    for conflict in &plan.conflicts {
        write!(text, "\n!{conflict}")?;
    }
    Ok(())
}
