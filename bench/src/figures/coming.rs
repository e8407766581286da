//! (r) A week of 1,000 flows in virtual time, (s) how often predictions hold.

use super::Effort;
use crate::aim::Aim;
use crate::figure::Figure;
use crate::{floors, flows, place};
use anyhow::Result;
use dalsegno_predict::week::{Deployed, Options, Past, Start, simulate};
use dalsegno_predict::{Histories, StepTime, Weather, calibrate};
use dalsegno_scheduler::schedule::{Gap, When};
use dalsegno_scheduler::spec::{FlowSpec, ScheduleSpec};
use dalsegno_scheduler::{Config, Flow, RunId, Span, Timestamp, Version};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Steps of each flow.
const STEPS: usize = 3;
/// One flow in ten runs each hour, the others each day.
const HOURLY: usize = 10;

pub(super) fn week(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let count = effort.pick(1_000, 100);
    let from = Timestamp::parse_rfc3339("2026-10-19T00:00:00Z").expect("a time");
    let specs: Vec<FlowSpec> = (0..count).map(spec).collect();
    let past = Past {
        histories: Histories::new(
            &specs
                .iter()
                .flat_map(|it| times(it, from))
                .collect::<Vec<_>>(),
        ),
        ..Past::default()
    };
    let deployed = specs.into_iter().map(|it| Deployed {
        file: format!("flows/{}.yaml", it.name),
        flow: Arc::new(Flow::new(it).expect("the flows of this crate are valid")),
        version: Version::new("0123456789abcdef"),
    });
    let start = Start {
        config: Config {
            max_tasks: 64,
            ..Config::default()
        },
        rows: Default::default(),
        flows: deployed.collect(),
        removed: Vec::new(),
    };
    let options = Options {
        from,
        until: from + Span::from_mins(7 * 24 * 60),
        seed: 1,
        assumed: Span::from_mins(1),
    };
    let begun = Instant::now();
    let week = simulate(start, &past, &options);
    let seconds = begun.elapsed().as_secs_f64();
    let fsync = floors::fsync_p50_us(folder.path())?;
    let figure = Figure::new("r", format!("a week of {count} flows"), seconds, "s")
        .aim(effort.pick(Aim::AtMost(10.0), Aim::None))
        .more("runs", week.runs as f64)
        .more("tasks", week.tasks as f64);
    Ok(vec![figure.judged(fsync)])
}

pub(super) fn predictions(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let fsync = floors::fsync_p50_us(folder.path())?;
    let figures = Weather::ALL.map(|weather| {
        let it = calibrate(weather, effort.pick(20, 3), 1);
        let name = format!(
            "predictions of nine in ten that hold, durations {}",
            weather.as_str()
        );
        Figure::new("s", name, f64::from(it.most) / 10.0, "%")
            .aim(Aim::AtLeast(87.0))
            .more("of one in two, %", f64::from(it.half) / 10.0)
            .more("predictions", f64::from(it.predictions))
            .judged(fsync)
    });
    Ok(figures.into())
}

fn spec(number: usize) -> FlowSpec {
    let mut flow = flows::chain(&format!("flow{number}"), STEPS);
    let hour = match number % HOURLY {
        0 => "*".to_owned(),
        _ => (number % 24).to_string(),
    };
    flow.schedules.push(ScheduleSpec {
        calendar: None,
        name: "usual".into(),
        when: When::Cron {
            text: format!("{} {hour} * * *", number % 60),
        },
        timezone: "Europe/Berlin".to_owned(),
        gap: Gap::default(),
        overlap: None,
        jitter: Span::ZERO,
        misfire: Default::default(),
        params: BTreeMap::new(),
        start: None,
        end: None,
    });
    flow
}

/// A month of daily runs in which each step took a few minutes.
fn times(flow: &FlowSpec, until: Timestamp) -> impl Iterator<Item = StepTime> {
    let days = (1..=30_i64).rev();
    days.flat_map(move |day| {
        flow.steps.iter().map(move |step| {
            let from = until - Span::from_mins(day * 24 * 60);
            let took = Span::from_secs(60 + (day * 37 + step.name.as_str().len() as i64) % 240);
            StepTime {
                flow: flow.name.clone(),
                run: RunId(31 - day as u64),
                started_at: from,
                finished_at: from + took,
                step: step.name.clone(),
                tasks: 1,
                from,
                to: from + took,
                of_one: took,
            }
        })
    })
}
