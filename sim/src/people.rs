//! People and pipelines, who press everything.

use crate::flows::{self, File, KINDS};
use crate::ledger::Ledger;
use crate::rng::Rng;
use dalsegno_scheduler::backfill::PlanRequest;
use dalsegno_scheduler::row::{BackfillMode, RunSnapshot, RunState};
use dalsegno_scheduler::{
    BackfillChange, BackfillRequest, FlowName, Input, NewEvent, RerunRequest, ResumeRequest,
    ResumeWith, RunId, Scheduler, Span, StartRequest, StepName, Timestamp,
};
use serde_json::{Map, json};

/// One thing that somebody does.
pub(crate) fn press(
    rng: &mut Rng,
    core: &Scheduler,
    ledger: &Ledger,
    now: Timestamp,
    flows: u64,
) -> Input {
    let number = rng.below(flows);
    let flow = FlowName::new(flows::name(number));
    let by = || "ada".to_owned();
    match rng.below(100) {
        0..30 => {
            let mut params = Map::new();
            if rng.chance(20) {
                params.insert("n".to_owned(), json!(rng.below(5)));
            }
            Input::Start(StartRequest {
                flow,
                params,
                key: rng.chance(20).then(|| format!("key-{}", rng.below(8))),
                by: by(),
            })
        }
        30..33 => backfill(rng, core, ledger, now, flow).unwrap_or(Input::Tick),
        33..37 => change_backfill(rng, core),
        37..60 => Input::Event(NewEvent {
            source: "outside".to_owned(),
            id: rng.below(400).to_string(),
            kind: (*rng.pick(&KINDS)).to_owned(),
            subject: None,
            time: None,
            data: json!({"n": rng.below(6), "key": rng.below(2)}),
        }),
        60..68 => {
            let runs: Vec<RunId> = core.runs().map(|it| it.id).collect();
            let run = if runs.is_empty() || rng.chance(5) {
                RunId(rng.below(50))
            } else {
                *rng.pick(&runs)
            };
            Input::Cancel {
                run,
                by: by(),
                reason: None,
            }
        }
        68..76 => resume(rng, ledger).unwrap_or(Input::Tick),
        76..80 => rerun(rng, ledger).unwrap_or(Input::Tick),
        80..84 => Input::Pause {
            flow,
            by: by(),
            reason: None,
        },
        84..90 => Input::Unpause {
            flow,
            by: by(),
            catch_up: Default::default(),
        },
        90..92 => Input::Remove { flow },
        92..94 => Input::Invalid {
            flow,
            file: "broken.yaml".to_owned(),
            message: "line 3: not a step".to_owned(),
        },
        _ => deploy(flows::random(rng, number)),
    }
}

pub(crate) fn deploy(file: File) -> Input {
    Input::Deploy {
        file: format!("{}.yaml", file.flow.name()),
        flow: file.flow,
        version: file.version,
        source: file.text,
    }
}

/// Plans a backfill and wants it as planned, be there conflicts or not.
fn backfill(
    rng: &mut Rng,
    core: &Scheduler,
    ledger: &Ledger,
    now: Timestamp,
    flow: FlowName,
) -> Option<Input> {
    let from = now - Span::from_mins(10 + rng.below(300) as i64);
    let request = PlanRequest {
        flow,
        from,
        to: from + Span::from_mins(1 + rng.below(60) as i64),
        mode: *rng.pick(BackfillMode::ALL),
        downstream: rng.chance(60),
        parallel: 1 + rng.below(3) as u32,
    };
    let durations = Default::default();
    let plan = core.plan_backfill(&request, &ledger.history(), &durations, now);
    Some(Input::Backfill(Box::new(BackfillRequest {
        plan: plan.ok()?,
        parallel: request.parallel,
        key: rng.chance(20).then(|| format!("key-{}", rng.below(8))),
        by: "ada".to_owned(),
    })))
}

fn change_backfill(rng: &mut Rng, core: &Scheduler) -> Input {
    let unfinished: Vec<u64> = core.backfills().iter().map(|it| it.row.id).collect();
    let backfill = match unfinished.is_empty() {
        true => rng.below(5),
        false => *rng.pick(&unfinished),
    };
    let change = [
        BackfillChange::Pause,
        BackfillChange::Resume,
        BackfillChange::Resume,
        BackfillChange::Cancel,
    ];
    Input::ChangeBackfill {
        backfill,
        change: *rng.pick(&change),
        by: "ada".to_owned(),
    }
}

fn resume(rng: &mut Rng, ledger: &Ledger) -> Option<Input> {
    let (snapshot, from) = from_where(rng, ledger)?;
    Some(Input::Resume(Box::new(ResumeRequest {
        with: ResumeWith::Same,
        snapshot,
        from,
        by: "ada".to_owned(),
    })))
}

fn rerun(rng: &mut Rng, ledger: &Ledger) -> Option<Input> {
    let (snapshot, from) = from_where(rng, ledger)?;
    let mut params = Map::new();
    if rng.chance(30) {
        params.insert("n".to_owned(), json!(rng.below(5)));
    }
    Some(Input::Rerun(Box::new(RerunRequest {
        with: ResumeWith::Same,
        snapshot,
        from,
        params,
        key: rng.chance(20).then(|| format!("key-{}", rng.below(8))),
        by: "ada".to_owned(),
    })))
}

/// Some finished run, and the step from which it is done again.
fn from_where(rng: &mut Rng, ledger: &Ledger) -> Option<(RunSnapshot, Option<StepName>)> {
    let finished = ledger.finished();
    if finished.is_empty() {
        return None;
    }
    let run = *rng.pick(&finished);
    let snapshot = ledger.snapshot(run);
    let again = ledger.state(run) == RunState::Succeeded || rng.chance(30);
    let from = again.then(|| {
        let steps: Vec<StepName> = snapshot
            .tasks
            .iter()
            .map(|it| it.task.step.clone())
            .chain(snapshot.scopes.iter().map(|it| it.scope.clone()))
            .collect();
        if steps.is_empty() {
            StepName::new("s0")
        } else {
            rng.pick(&steps).clone()
        }
    });
    Some((snapshot, from))
}
