//! What is told of a promise while upstream flows run.

use dalsegno_predict::Forecast;
use dalsegno_predict::{
    Durations, Gate, History, Job, JobId, Plan, Sample, Step, StepState, Target,
};
use dalsegno_scheduler::{Limit, Span, Timestamp, sla};

const MIDNIGHT: Timestamp = Timestamp::from_secs(1_790_035_200);

fn at(hour: i64, minute: i64) -> Timestamp {
    MIDNIGHT + Span::from_mins(hour * 60 + minute)
}

/// A step that took so many minutes each night.
fn history(minutes: i64) -> History {
    let nights = (1..=20).map(|night| Sample {
        began_at: MIDNIGHT - Span::from_mins(night * 24 * 60),
        took: Span::from_mins(minutes + night % 3 - 1),
    });
    History::new(nights.collect())
}

fn step(name: &str, after: &[usize], minutes: i64, state: StepState, now: Timestamp) -> Step {
    let history = history(minutes);
    let durations = history.durations(now);
    let durations = match state {
        StepState::Running { since } => durations.map(|it| it.beyond(now - since)),
        _ => durations,
    };
    Step {
        name: name.into(),
        after: after.to_vec(),
        state,
        durations,
        usual: history.usual(),
        queue: None,
    }
}

fn job(flow: &str, owner: &str, now: Timestamp, steps: Vec<Step>) -> Job {
    Job {
        flow: flow.into(),
        owner: Some(owner.to_owned()),
        run: None,
        started_at: None,
        not_before: now,
        gates: Vec::new(),
        queue: None,
        steps,
        usual: None,
        unknown: Vec::new(),
    }
}

/// ingest_orders began at five and usually takes 80 minutes; churn_training follows and takes 50.
fn plan(now: Timestamp) -> Plan {
    let running = StepState::Running { since: at(5, 0) };
    let mut ingest = job(
        "ingest_orders",
        "data-eng",
        now,
        vec![step("load", &[], 80, running, now)],
    );
    ingest.started_at = Some(at(5, 0));
    let mut training = job(
        "churn_training",
        "ml",
        now,
        vec![step("train", &[], 50, StepState::Ahead, now)],
    );
    training.gates = vec![Gate::All(vec![JobId(0)])];
    Plan {
        now,
        jobs: vec![ingest, training],
    }
}

fn said(forecast: &Forecast) -> String {
    let because = forecast
        .culprit
        .as_ref()
        .map(|it| it.text(&"churn_training".into()));
    let (late, chance) = (forecast.late_by, forecast.chance_permille);
    sla::sentence("churn_training", "08:00", late, chance, because.as_deref())
}

fn told(plan: &Plan) -> String {
    let due = at(8, 0);
    let forecast = plan.forecast(JobId(1), &Target::Finished, due, 1);
    let forecast = forecast.expect("the plan has two jobs");
    let told = said(&forecast);
    format!("{told} [{}]", forecast.chance_permille)
}

#[test]
fn nobody_is_to_blame_while_all_goes_as_usual() {
    let told = told(&plan(at(5, 30)));
    assert_eq!(told, "churn_training will be in time for 08:00 [2]");
}

#[test]
fn the_culprit_is_the_flow_upstream_that_runs_longer_than_usual() {
    let told = told(&plan(at(7, 0)));
    let (told, chance) = told.split_once(" [").expect("a chance");
    assert_eq!(
        told,
        "churn_training will miss 08:00 by about 32 min: ingest_orders runs 2.0x longer than usual, owner data-eng"
    );
    assert_eq!(chance, "777]");
}

#[test]
fn a_step_of_the_flow_itself_may_be_to_blame_though_it_is_done() {
    let now = at(7, 30);
    let done = StepState::Done {
        began_at: at(5, 0),
        at: at(7, 30),
    };
    let steps = vec![
        step("read", &[], 60, done, now),
        step(
            "quick",
            &[],
            2,
            StepState::Done {
                began_at: at(5, 0),
                at: at(5, 10),
            },
            now,
        ),
        step("train", &[0, 1], 50, StepState::Ahead, now),
    ];
    let mut own = job("churn_training", "ml", now, steps);
    own.started_at = Some(at(5, 0));
    let plan = Plan {
        now,
        jobs: vec![own],
    };
    let forecast = plan.forecast(JobId(0), &Target::Finished, at(8, 0), 1);
    let told = said(&forecast.expect("a job"));
    assert_eq!(
        told,
        "churn_training will miss 08:00 by about 20 min: its step read runs 2.5x longer than usual"
    );
}

#[test]
fn a_queue_may_be_to_blame() {
    let now = at(7, 0);
    let mut plan = plan(at(5, 30));
    plan.now = now;
    plan.jobs.remove(0);
    plan.jobs[0].gates.clear();
    plan.jobs[0].steps[0].queue = Some((Limit::Pool("gpu".into()), Span::from_mins(40)));
    let forecast = plan.forecast(JobId(0), &Target::Finished, at(8, 0), 1);
    let told = said(&forecast.expect("a job"));
    assert!(
        told.starts_with("churn_training will miss 08:00 by about 3")
            && told.ends_with("min: it waits about 40 min for pool gpu"),
        "{told}"
    );
}

#[test]
fn what_nobody_can_know_is_said() {
    let mut plan = plan(at(5, 30));
    plan.jobs[1].steps[0].durations = None;
    plan.jobs[0]
        .unknown
        .push("waits for an event `orders`".to_owned());
    let forecast = plan.forecast(JobId(1), &Target::Finished, at(8, 0), 1);
    assert_eq!(
        forecast.expect("a job").unknown,
        [
            "step train has never succeeded before",
            "waits for an event `orders`"
        ]
    );
}

#[test]
fn the_same_question_has_the_same_answer() {
    let ask = || plan(at(6, 0)).forecast(JobId(1), &Target::Finished, at(8, 0), 7);
    assert_eq!(ask(), ask());
    assert_eq!(
        plan(at(6, 0)).forecast(JobId(2), &Target::Finished, at(8, 0), 7),
        None
    );
    let exact = Durations::exactly(Span::from_mins(5));
    assert_eq!(exact.quantile(0.9), Span::from_mins(5));
}
