//! The page of one run.

use super::lines::{flow_href, why_line};
use super::tasks::Tasks;
use super::{Page, frame, is_fragment, shown, task};
use crate::dag::{Card, Paint, draw};
use crate::html::{Fact, Html, Notice, RunPage, big_state, exact, exact_and_told, fact, took};
use crate::input::Query;
use crate::problem::Outcome;
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use askama::Template;
use axum::extract::{Path, State};
use dalsegno_scheduler::expr::plain;
use dalsegno_scheduler::row::{RunRow, RunState};
use dalsegno_scheduler::{Explanation, Timestamp};
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/runs/{id}", run)
}

async fn run(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Page {
    let page = build(&app, &id, &query, None).await?;
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
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
    let panel = task::panel(app, &run, &tasks, query, now).await?;
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
    let gantt = tasks.gantt(&run, now);
    Ok(RunPage {
        frame: frame(app, "runs", &format!("?run={}", run.id)),
        notice,
        id: run.id.to_string(),
        flow: run.flow.to_string(),
        flow_href: flow_href(&run.flow),
        state: big_state(run.state.as_str()),
        aging: !run.state.is_terminal() && run.state != RunState::Queued,
        can_cancel: !run.state.is_terminal() && run.state != RunState::Cancelling,
        can_resume: run.state.is_terminal() && flow.is_some(),
        steps: flow
            .iter()
            .flat_map(|it| &it.spec().steps)
            .map(|it| it.name.to_string())
            .collect(),
        facts: facts(&run, now),
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

fn facts(run: &RunRow, now: Timestamp) -> Vec<Fact> {
    let mut facts = vec![fact("Started by", Html::text(&run.trigger))];
    if run.interval.start != run.interval.end {
        let interval = format!(
            "{} – {}",
            exact(run.interval.start),
            exact(run.interval.end)
        );
        facts.push(fact("Data interval", Html(interval)));
    }
    facts.push(fact("Created", exact_and_told(run.created_at, now)));
    let waited_until = run.started_at.or(run.finished_at);
    facts.push(fact("Waited", took(run.queued_at, waited_until, now)));
    if let Some(started) = run.started_at {
        facts.push(fact("Ran", took(started, run.finished_at, now)));
    }
    if let Some(finished) = run.finished_at {
        facts.push(fact("Finished", exact_and_told(finished, now)));
    }
    if run.generation > 1 {
        facts.push(fact(
            "Resumed",
            Html::text(format_args!("{} times", run.generation - 1)),
        ));
    }
    if let Some(deadline) = run.deadline.filter(|_| !run.state.is_terminal()) {
        facts.push(fact("Times out", exact_and_told(deadline, now)));
    }
    if run.priority != 0 {
        facts.push(fact("Priority", Html::text(run.priority)));
    }
    for event in &run.events {
        let href = format!("/events?event={event}");
        facts.push(fact("Event", Html::link(&href, event)));
    }
    for (name, value) in run.params.iter() {
        facts.push(fact(
            name,
            Html::text(crate::text::shorten(&plain(value), 80)),
        ));
    }
    facts.push(fact("Version", Html::text(&run.version)));
    facts
}
