//! The page of one run.

use super::lines::{flow_href, ran, starter, times, waited, why_line};
use super::tasks::Tasks;
use super::{Page, frame, is_fragment, metaflow, shown, task};
use crate::dag::{Card, Paint, draw};
use crate::html::field;
use crate::html::{
    Fact, Html, Notice, RunPage, big_state, exact, exact_and_told, fact, run_link, told,
};
use crate::input::Query;
use crate::problem::{Failure, Outcome};
use crate::read;
use crate::resume_plan::{is_at_step_functions, resume_plan, resume_with};
use crate::routes::Routes;
use crate::state::App;
use crate::text::url_encode;
use askama::Template;
use axum::extract::{Path, State};
use dalsegno_scheduler::expr::plain;
use dalsegno_scheduler::row::{ParentTask, RunRow, RunState};
use dalsegno_scheduler::spec::ParamSpec;
use dalsegno_scheduler::{AttemptId, Explanation, Flow, Scheduler, StepName, Timestamp, Version};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/runs/{id}", run)
        .get("/runs/{id}/resume-plan", plan)
}

async fn run(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Page {
    let page = build(&app, &id, &query, None).await?;
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

/// The page, and on top what Step Functions would do if the run were resumed.
async fn plan(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Page {
    let notice = |title: &str, text: String| Notice {
        title: title.to_owned(),
        text,
    };
    let with = resume_with(query.get("version"))?;
    let from = query.get("from").map(StepName::new);
    let notice = match resume_plan(&app, &id, from, with).await {
        Ok(Some(plan)) => notice("If it is resumed, at Step Functions", plan.to_string()),
        Ok(None) => notice("Step Functions", "this flow is not executed there".into()),
        Err(Failure(problem)) => notice(problem.title, problem.detail.clone()),
    };
    let page = build(&app, &id, &Query::default(), Some(notice)).await?;
    shown(page.render())
}

/// The page; after a form that was refused with a notice.
pub(super) async fn build(
    app: &App,
    id: &str,
    query: &Query,
    notice: Option<Notice>,
) -> Outcome<RunPage> {
    let now = app.engine().now();
    let run = read::run(app.engine(), id).await?;
    let graph = read::graph_of_run(app, &run).await?;
    let flow = graph.as_ref().map(|it| it.flow.as_ref());
    let tasks = Tasks::read(app, &run, flow, query).await?;
    let panel = task::panel(app, &run, flow, &tasks, query, now).await?;
    let selected = panel.as_ref().map(|it| it.name.clone());
    let whys = read::why_run(app.engine(), &run, now).await?;
    let drawn = graph.as_ref().map(|graph| {
        let card = |card: &Card| tasks.card_look(card, selected.as_deref(), now);
        let frame = |name: &str| tasks.frame_look(name);
        Html(draw(
            &graph.layout,
            &Paint {
                card: &card,
                frame: &frame,
            },
        ))
    });
    let events = events(app, &run).await?;
    let gantt = tasks.gantt(&run, selected.as_deref(), now);
    let view = app.engine().view();
    let latest = latest(&view, &run);
    let resumed = latest.as_ref().map(|(flow, _)| *flow).or(flow);
    Ok(RunPage {
        frame: frame(app, "runs", &format!("?run={}", run.id)),
        notice,
        id: run.id.to_string(),
        flow: run.flow.to_string(),
        flow_href: flow_href(&run.flow),
        state: big_state(run.state.as_str()),
        aging: !run.state.is_terminal() && run.state != RunState::Queued,
        can_cancel: !run.state.is_terminal() && run.state != RunState::Cancelling,
        can_resume: run.state.is_terminal() && resumed.is_some(),
        versions: latest.map(|(_, version)| (version.to_string(), run.version.to_string())),
        steps: resumed
            .iter()
            .flat_map(|it| &it.spec().steps)
            .map(|it| it.name.to_string())
            .collect(),
        fields: match run.state.is_terminal() {
            true => resumed.map(|it| fields(it, &run)).unwrap_or_default(),
            false => Vec::new(),
        },
        asks_step_functions: resumed.is_some_and(is_at_step_functions),
        facts: facts(&view, flow, &run, &events, now),
        why_title: why_title(run.state),
        whys: shown_whys(whys, &run)
            .into_iter()
            .map(|it| why_line(it, now))
            .collect(),
        graph: drawn,
        graph_note: tasks.told(),
        gantt: (!gantt.is_empty()).then_some(Html(gantt)),
        no_tasks: match (&run.reason, run.state) {
            (Some(reason), _) => reason.to_string(),
            (None, RunState::Queued) => "The run is queued.".into(),
            _ => String::new(),
        },
        tasks_note: tasks.note(),
        filters: tasks.filters(&run),
        filtered: tasks.is_filtered(),
        tasks: tasks.lines(&run, selected.as_deref(), now),
        panel,
    })
}

/// A field for each parameter, none of them needed: what is left blank stays as it was.
fn fields(flow: &Flow, run: &RunRow) -> Vec<Html> {
    let fields = flow.spec().params.iter().map(|param| {
        let before = run.params.get(&param.name).cloned();
        let default = before.and_then(|it| serde_json::from_value(it).ok());
        let param = ParamSpec {
            default: default.or_else(|| param.default.clone()),
            optional: true,
            ..param.clone()
        };
        field(&param, None)
    });
    fields.collect()
}

/// The flow's active version, where it is not the run's.
fn latest<'a>(view: &'a Scheduler, run: &RunRow) -> Option<(&'a Flow, &'a Version)> {
    let state = view.flow(run.flow.as_str())?;
    let version = state.row.active_version.as_ref()?;
    let flow = state.flow.as_deref()?;
    (*version != run.version).then_some((flow, version))
}

const fn why_title(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "Why it waits",
        RunState::Running => "What waits",
        RunState::Cancelling => "What it does now",
        _ => "Why it ended so",
    }
}

/// What is worth saying: nothing of a run that went well; of a live one what waits, and tasks that wait for the
/// same together. On the run's own page its number goes without saying.
fn shown_whys(whys: Vec<Explanation>, run: &RunRow) -> Vec<Explanation> {
    let prefix = format!("run {}, ", run.id);
    let mut whys = whys;
    if run.state.is_terminal() {
        // The cause first, then what came of it.
        let is_consequence = |it: &Explanation| {
            let words = ["skipped:", "cancelled:"];
            it.subject.starts_with(&prefix) && words.iter().any(|word| it.text.starts_with(word))
        };
        whys.sort_by_key(is_consequence);
    }
    let mut shown: Vec<(Explanation, usize)> = Vec::new();
    for mut why in whys {
        let is_dull = match run.state {
            RunState::Succeeded => true,
            RunState::Running => why.reason.is_none(),
            _ => false,
        };
        if let Some(rest) = why.subject.strip_prefix(&prefix) {
            why.subject = rest.to_owned();
        }
        match shown.last_mut() {
            _ if is_dull => {}
            Some((last, count)) if last.text == why.text => *count += 1,
            _ => shown.push((why, 1)),
        }
    }
    let grouped = shown.into_iter().map(|(mut why, count)| {
        if count > 1 {
            why.subject = format!("{} and {} more", why.subject, count - 1);
        }
        why
    });
    grouped.collect()
}

/// The events that started a run, told at most so often.
const EVENTS_MAX: usize = 20;

/// Each event by its type; of the end of another run that run.
async fn events(app: &App, run: &RunRow) -> Outcome<Vec<Fact>> {
    let mut facts = Vec::new();
    for seq in run.events.iter().take(EVENTS_MAX) {
        let href = format!("/events/{seq}");
        let told = match app.engine().store().event(*seq).await? {
            Some(event) => {
                let upstream = event
                    .data
                    .get("run")
                    .filter(|_| event.kind.starts_with("dalsegno."));
                let link = Html::link(&href, &event.kind);
                match upstream.and_then(|it| it.as_str()?.parse().ok()) {
                    Some(upstream) => link.then(&Html::text(" of ")).then(&run_link(upstream)),
                    None => link,
                }
            }
            None => Html::link(&href, seq),
        };
        facts.push(fact("Event", told));
    }
    if run.events.len() > EVENTS_MAX {
        let more = run.events.len() - EVENTS_MAX;
        facts.push(fact("Events", Html::text(format_args!("and {more} more"))));
    }
    Ok(facts)
}

/// The step of another run that this one was made for.
fn part_of(parent: &ParentTask) -> Html {
    let AttemptId { run, task, .. } = &parent.attempt;
    let href = format!("/runs/{run}?task={}#task", url_encode(&task.to_string()));
    let step = Html::link(&href, format_args!("step {task}"));
    let waits = match parent.waits {
        true => Html::default(),
        false => Html::text(", which does not wait for it"),
    };
    run_link(*run)
        .then(&Html::text(", "))
        .then(&step)
        .then(&waits)
}

fn facts(
    view: &Scheduler,
    flow: Option<&Flow>,
    run: &RunRow,
    events: &[Fact],
    now: Timestamp,
) -> Vec<Fact> {
    let mut facts = vec![fact("Started by", starter(view, &run.flow, &run.trigger))];
    if let Some(parent) = &run.parent {
        facts.push(fact("Part of", part_of(parent)));
    }
    if let Some(backfill) = run.backfill {
        let href = format!("/backfills/{backfill}");
        let link = Html::link(&href, format_args!("backfill {backfill}"));
        facts.push(fact("Belongs to", link));
    }
    if run.interval.start != run.interval.end {
        let interval = format!(
            "{} – {}",
            exact(run.interval.start),
            exact(run.interval.end)
        );
        facts.push(fact("Data interval", Html(interval)));
    }
    facts.push(fact("Created", exact_and_told(run.created_at, now)));
    facts.push(fact("Waited", waited(run, now)));
    if run.generation > 1 {
        let count = Html::text(times(run.generation - 1));
        let last = format!(r#" <span class="soft">{}</span>"#, told(run.queued_at, now));
        facts.push(fact("Resumed", count.then(&Html(last))));
    }
    if let Some(ran) = ran(run, now) {
        let name = match run.generation {
            0 | 1 => "Ran",
            _ => "Ran since then",
        };
        facts.push(fact(name, ran));
    }
    if let Some(finished) = run.finished_at {
        facts.push(fact("Finished", exact_and_told(finished, now)));
    }
    if let Some(deadline) = run.deadline.filter(|_| !run.state.is_terminal()) {
        facts.push(fact("Times out", exact_and_told(deadline, now)));
    }
    if run.priority != 0 {
        facts.push(fact("Priority", Html::text(run.priority)));
    }
    facts.extend(events.iter().cloned());
    for (name, value) in run.params.iter() {
        facts.push(fact(
            name,
            Html::text(crate::text::shorten(&plain(value), 80)),
        ));
    }
    facts.push(fact("Version", Html::text(&run.version)));
    if let Some(origin) = run.origin {
        facts.push(fact("Goes on from", run_link(origin)));
    }
    facts.extend(metaflow::run_facts(view, flow, run));
    facts
}
