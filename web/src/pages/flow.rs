//! The page of one flow.

use super::lines::{due, flow_href, moment, run_line, starter, state_filters, why_line};
use super::{Page, frame, is_fragment, ledger, metaflow, shown, waiting};
use crate::api::runs::run_states;
use crate::code;
use crate::dag::{Card, Look, Paint, draw};
use crate::html::{
    FlowPage, Html, NextLine, Notice, ScheduleLine, TriggerLine, VersionLine, Why, exact_and_told,
    field,
};
use crate::input::Query;
use crate::problem::Outcome;
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use crate::text::url_encode;
use crate::words;
use askama::Template;
use axum::extract::{Path, State};
use dalsegno_scheduler::metaflow::MetaflowStep;
use dalsegno_scheduler::row::{FlowRow, OccurrenceRow};
use dalsegno_scheduler::spec::{Command, StepSpec};
use dalsegno_scheduler::{Explanation, Flow, Reason, Scheduler, Timestamp};
use dalsegno_store::{Cursor, RunFilter};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/flows/{name}", flow)
}

/// How many lines each list of the page has.
const LINES: usize = 20;
const NEXT_LINES: usize = 5;

async fn flow(State(app): State<Arc<App>>, Path(name): Path<String>, query: Query) -> Page {
    let page = build(&app, &name, &query, None, &[]).await?;
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

/// The page; after a form that was refused with a notice and what was given.
pub(super) async fn build(
    app: &App,
    name: &str,
    query: &Query,
    notice: Option<Notice>,
    given: &[(String, String)],
) -> Outcome<FlowPage> {
    let (view, now) = (app.engine().view(), app.engine().now());
    let (row, flow) = read::flow(&view, name)?;
    let flow = flow.as_ref();
    let href = flow_href(&row.name);
    let versions = app.engine().store().versions(&row.name).await?;
    let is_active = |version: &_| row.active_version.as_ref() == Some(version);
    let source = versions.iter().find(|it| is_active(&it.version));
    let source = source.map(|it| Html(code::lines(&it.source, &row.file)));
    let ledger = ledger::panel(app, &view, &row, flow.map(AsRef::as_ref), query, now).await?;
    let whys_at = why_at(app, &row, query, now).await?;
    let (sets, sets_more) = waiting::sets(&view, &row.name, now);

    let states = query.get("state");
    let filter = RunFilter {
        flow: Some(row.name.clone()),
        states: run_states(states)?,
        ..RunFilter::default()
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let runs = app
        .engine()
        .store()
        .runs(&filter, cursor.as_ref(), LINES)
        .await?;
    let narrowed = states
        .map(|it| format!("state={}&", url_encode(it)))
        .unwrap_or_default();
    let older = |it: Cursor| format!("{href}?{narrowed}cursor={}", url_encode(&it.0));

    let graph = match (flow, &row.active_version) {
        (Some(flow), Some(version)) => {
            let graph = app.lay_out(Arc::clone(flow), version).await;
            let card = |card: &Card| card_look(flow, card);
            let frame = |name: &str| frame_look(flow, name);
            Some(Html(draw(
                &graph.layout,
                &Paint {
                    card: &card,
                    frame: &frame,
                },
            )))
        }
        _ => None,
    };
    let whys = view.why_flow(name, now).unwrap_or_default();
    Ok(FlowPage {
        frame: frame(app, "flows", &format!("?flow={}", url_encode(name))),
        notice,
        name: row.name.to_string(),
        description: flow.and_then(|it| it.spec().description.clone()),
        file: row.file.clone(),
        invalid: row.invalid.clone(),
        removed: row.removed,
        paused: row.paused.as_ref().map(|it| {
            let reason = it
                .reason
                .as_ref()
                .map(|it| format!(": {it}"))
                .unwrap_or_default();
            format!("by {} {}{reason}", it.by, crate::text::relative(it.at, now))
        }),
        alarms: view
            .without_future(now)
            .into_iter()
            .filter(|(name, ..)| *name == row.name)
            .map(|(_, trigger, reason)| {
                let same = |it: &&Explanation| it.reason.as_ref() == Some(&reason);
                let cure = whys.iter().find(same).and_then(|it| it.cure.clone());
                (trigger.to_string(), reason.to_string(), cure)
            })
            .collect(),
        at: query.get("at").unwrap_or_default().to_owned(),
        whys_at,
        sets,
        sets_more,
        whys: whys
            .into_iter()
            .filter(is_news)
            .map(|it| why_line(it, now))
            .collect(),
        graph,
        graph_note: flow.map(|it| note(it)).unwrap_or_default(),
        schedules: flow.map(|it| schedules(it)).unwrap_or_default(),
        triggers: flow.map(|it| triggers(it)).unwrap_or_default(),
        next: next(&view, &row, now),
        ledger,
        filters: state_filters(&href, states),
        runs: runs
            .items
            .iter()
            .map(|it| run_line(&view, it, now))
            .collect(),
        runs_next: runs.next.map(older),
        startable: flow.is_some() && !row.removed,
        form_key: uuid::Uuid::new_v4().to_string(),
        fields: flow.map(|it| fields(it, given)).unwrap_or_default(),
        versions: versions
            .iter()
            .map(|it| VersionLine {
                hash: it.version.to_string(),
                created: exact_and_told(it.created_at, now),
                active: is_active(&it.version),
            })
            .collect(),
        source: source.unwrap_or_default(),
        metaflow: flow.and_then(|it| metaflow::panel(app, &row, it)),
        href,
    })
}

/// What the rest of the page does not say: pauses and errors have a place of their own, tasks are on the pages of
/// their runs, and what comes next stands beside schedules and triggers.
fn is_news(why: &Explanation) -> bool {
    let of_task = why.subject.contains(", task ");
    let told_elsewhere = matches!(
        why.reason,
        None | Some(
            Reason::FlowPaused { .. }
                | Reason::FlowInvalid { .. }
                | Reason::FlowRemoved
                | Reason::WaitingFor { .. }
                | Reason::ScheduleEnded { .. }
                | Reason::NotPlanned { .. }
                | Reason::NoFutureDate
        )
    );
    !of_task && !told_elsewhere
}

/// Why it ran or did not at the moment that someone asks for.
async fn why_at(
    app: &App,
    row: &FlowRow,
    query: &Query,
    now: Timestamp,
) -> Outcome<Option<Vec<Why>>> {
    let Some(text) = query.get("at") else {
        return Ok(None);
    };
    let whys = crate::api::why::explained(app, &row.name, moment("at", text)?).await?;
    Ok(Some(whys.into_iter().map(|it| why_line(it, now)).collect()))
}

fn note(flow: &Flow) -> String {
    let steps = flow.spec().steps.len();
    let s = if steps == 1 { "" } else { "s" };
    let run = &flow.spec().run;
    let strategy = crate::text::strategy(run.strategy);
    match run.max_parallel_tasks {
        Some(most) => format!("{steps} step{s} · {strategy} · at most {most} tasks at once"),
        None => format!("{steps} step{s} · {strategy}"),
    }
}

/// What a step does, as the flow page tells it.
fn card_look(flow: &Flow, card: &Card) -> Look {
    let line = match card.steps.as_slice() {
        [one] => flow.step(one.as_str()).map(|step| {
            let command = match &step.run {
                Command::Shell(text) => text.trim().lines().next().unwrap_or("").to_owned(),
                Command::Argv(words) => words.join(" "),
                Command::Metaflow(own) => decorated(flow, step, own),
                Command::Flow(own) => format!("flow {}", own.flow),
            };
            let each = match (card.each, command.as_str()) {
                (true, "") => "once per item",
                (true, _) => "each: ",
                (false, _) => "",
            };
            let when = if step.when.is_some() { "if: " } else { "" };
            format!("{each}{when}{command}")
        }),
        many => Some(format!("{} steps side by side", many.len())),
    };
    Look {
        state: "plain",
        line: line.unwrap_or_default(),
        ..Look::default()
    }
}

/// Decorators in short; where there are none, what the step is in the graph.
fn decorated(flow: &Flow, step: &StepSpec, own: &MetaflowStep) -> String {
    let names = own.decorators.iter();
    let names = names.map(|it| it.split('(').next().unwrap_or(it));
    let names: Vec<&str> = names.collect();
    match (names.as_slice(), own.hook.is_some()) {
        ([], true) => "exit hook".into(),
        ([], _) => metaflow::kinds(flow, step, own).join(", "),
        (names, _) => names.join(" "),
    }
}

fn frame_look(flow: &Flow, name: &str) -> Look {
    if metaflow::is_gang(flow, name) {
        return Look {
            state: "plain",
            line: "a gang".into(),
            ..Look::default()
        };
    }
    let most = flow.scope(name).and_then(|(scope, ..)| scope.max_parallel);
    let most = most.map(|it| format!(", {it} at once")).unwrap_or_default();
    Look {
        state: "plain",
        line: format!("once per item{most}"),
        ..Look::default()
    }
}

fn schedules(flow: &Flow) -> Vec<ScheduleLine> {
    let lines = flow.schedules().map(|(spec, schedule)| ScheduleLine {
        name: spec.name.to_string(),
        words: schedule.describe().to_owned(),
        detail: words::schedule_detail(spec),
    });
    lines.collect()
}

fn triggers(flow: &Flow) -> Vec<TriggerLine> {
    let lines = flow.spec().triggers.iter().map(|trigger| {
        let within = trigger.within.map(|it| format!("together within {it}"));
        let reset = trigger.reset_at.as_ref().map(words::reset);
        let details: Vec<String> = within.into_iter().chain(reset).collect();
        TriggerLine {
            text: words::when(&trigger.on),
            detail: details.join(" · "),
        }
    });
    lines.collect()
}

fn next(view: &Scheduler, row: &FlowRow, now: Timestamp) -> Vec<NextLine> {
    let mut coming: Vec<&OccurrenceRow> = view.expected(row.name.as_str()).collect();
    coming.sort_by_key(|it| it.due_at);
    let line = |it: &OccurrenceRow| NextLine {
        when: due(it, now),
        what: {
            let flow = view
                .flow(it.flow.as_str())
                .and_then(|it| it.flow.as_deref());
            let moved = ledger::moved(flow, it).map(|it| format!(" · {it}"));
            let held = it.reason.as_ref().map(|it| format!(": {it}"));
            let more = moved.into_iter().chain(held).collect::<String>();
            starter(view, &it.flow, &it.trigger).then(&Html::text(more))
        },
    };
    coming.into_iter().take(NEXT_LINES).map(line).collect()
}

fn fields(flow: &Flow, given: &[(String, String)]) -> Vec<Html> {
    let fields = flow.spec().params.iter().map(|param| {
        let name = crate::html::field_name(&param.name);
        let value = given
            .iter()
            .find(|(it, _)| *it == name)
            .map(|(_, value)| value.as_str());
        field(param, value)
    });
    fields.collect()
}
