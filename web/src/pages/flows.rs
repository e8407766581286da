//! The page of all flows, and that of all runs.

use super::lines::{flow_href, ran, run_line, state_filters};
use super::{Page, frame, is_fragment, shown};
use crate::api::flows::{next_of, upcoming};
use crate::api::runs::run_states;
use crate::html::{
    BARS_MAX, FlowLine, FlowsPage, Html, LastRun, RunsPage, Tile, badge, bars, state, told,
};
use crate::input::{PAGE_DEFAULT, Query};
use crate::json::flow_state;
use crate::routes::Routes;
use crate::state::App;
use crate::text::url_encode;
use crate::words;
use askama::Template;
use axum::extract::State;
use axum::response::Redirect;
use dalsegno_scheduler::row::{RunRow, RunState};
use dalsegno_scheduler::{FlowName, FlowState, Scheduler, Span, Timestamp};
use dalsegno_store::{Cursor, RunFilter};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/", flows)
        .get("/flows", all_flows)
        .get("/runs", runs)
}

/// Where people look for the list that is at `/`.
async fn all_flows() -> Redirect {
    Redirect::permanent("/")
}

async fn flows(State(app): State<Arc<App>>, query: Query) -> Page {
    let engine = app.engine();
    let (view, now) = (engine.view(), engine.now());
    let mut recent: BTreeMap<FlowName, Vec<Arc<RunRow>>> = BTreeMap::new();
    for run in engine.store().recent_runs(BARS_MAX).await? {
        recent.entry(run.flow.clone()).or_default().push(run);
    }
    let all = query.get("all").is_some();
    // A file that never was a flow and is gone again is nobody's concern.
    let flows = view
        .flows()
        .filter(|it| all || !it.row.removed || it.row.active_version.is_some());
    let lines = flows.map(|flow| {
        let runs = recent.get(&flow.row.name).map_or(&[][..], Vec::as_slice);
        line(&view, flow, runs, now)
    });
    let page = FlowsPage {
        frame: frame(&app, "flows", ""),
        flows: lines.collect(),
        tiles: tiles(&view, &recent, now),
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

fn line(view: &Scheduler, state_of: &FlowState, runs: &[Arc<RunRow>], now: Timestamp) -> FlowLine {
    let row = &state_of.row;
    let spec = state_of.flow.as_deref().map(dalsegno_scheduler::Flow::spec);
    FlowLine {
        name: row.name.to_string(),
        href: flow_href(&row.name),
        description: spec.and_then(|it| it.description.clone()),
        owner: spec.and_then(|it| it.owner.clone()),
        tags: spec.map(|it| it.tags.clone()).unwrap_or_default(),
        badges: badges(view, state_of),
        next: next_of(view, row).map(|it| told(it.due_at, now)),
        starts: state_of
            .flow
            .as_deref()
            .map(words::starts)
            .unwrap_or_default(),
        bars: bars(runs, now),
        last: runs.first().map(|run| LastRun {
            href: format!("/runs/{}", run.id),
            state: state(run.state.as_str()),
            when: told(
                run.finished_at.or(run.started_at).unwrap_or(run.created_at),
                now,
            ),
            took: ran(run, now),
        }),
    }
}

/// What is true of a flow now: its own state, and what its runs do.
fn badges(view: &Scheduler, flow: &FlowState) -> Vec<Html> {
    let row = &flow.row;
    let mut badges = Vec::new();
    if row.removed {
        badges.push(badge("removed", "removed", "the flow file is gone"));
    }
    if let Some(paused) = &row.paused {
        let title = format!(
            "by {} {}",
            paused.by,
            paused.reason.as_deref().unwrap_or("")
        );
        badges.push(badge("paused", "paused", &title));
    }
    if let Some(message) = &row.invalid {
        badges.push(badge("invalid", "invalid", message));
    }
    if let Some(run) = row.blocked_by {
        let title = format!("run {run} failed, and the strategy is strict_sequential");
        badges.push(badge("failed", "blocked", &title));
    }
    let count = |queued: bool| {
        let runs = view.runs_of(row.name.as_str());
        runs.filter(|it| (it.state == RunState::Queued) == queued)
            .count()
    };
    let (running, queued) = (count(false), count(true));
    if running > 0 {
        badges.push(badge("running", &format!("{running} running"), ""));
    }
    if queued > 0 {
        badges.push(badge("queued", &format!("{queued} queued"), ""));
    }
    if badges.is_empty() {
        badges.push(badge(flow_state(row), flow_state(row), ""));
    }
    badges
}

fn tiles(
    view: &Scheduler,
    recent: &BTreeMap<FlowName, Vec<Arc<RunRow>>>,
    now: Timestamp,
) -> Vec<Tile> {
    let queued = view
        .runs()
        .filter(|it| it.state == RunState::Queued)
        .count();
    let running = view.runs().count() - queued;
    let day_ago = now - Span::from_mins(24 * 60);
    let bad = |run: &&Arc<RunRow>| {
        matches!(run.state, RunState::Failed | RunState::TimedOut)
            && run.finished_at.is_some_and(|it| it >= day_ago)
    };
    let failed = recent.values().flatten().filter(bad).count();
    let next = upcoming(view).next();
    let tile = |figure: Html, label: &str, href: &str| Tile {
        figure,
        label: label.to_owned(),
        href: Some(href.to_owned()),
    };
    vec![
        tile(Html::text(running), "running", "/runs?state=unfinished"),
        tile(Html::text(queued), "queued", "/runs?state=queued"),
        tile(
            Html::text(failed),
            "failed in the last 24 h",
            "/runs?state=failed,timed_out",
        ),
        match next {
            Some(next) => Tile {
                figure: told(next.due_at, now),
                label: format!("next: {}", next.flow),
                href: Some(flow_href(&next.flow)),
            },
            None => Tile {
                figure: Html::text("–"),
                label: "nothing is scheduled".into(),
                href: None,
            },
        },
    ]
}

async fn runs(State(app): State<Arc<App>>, query: Query) -> Page {
    let (view, now) = (app.engine().view(), app.engine().now());
    let states = query.get("state");
    let filter = RunFilter {
        states: run_states(states)?,
        ..RunFilter::default()
    };
    let cursor = query.get("cursor").map(Cursor::from);
    let found = app
        .engine()
        .store()
        .runs(&filter, cursor.as_ref(), PAGE_DEFAULT)
        .await?;
    let next = found.next.map(|it| {
        let states = states
            .map(|it| format!("state={}&", url_encode(it)))
            .unwrap_or_default();
        format!("/runs?{states}cursor={}", url_encode(&it.0))
    });
    let page = RunsPage {
        frame: frame(&app, "runs", ""),
        filters: state_filters("/runs", states),
        runs: found
            .items
            .iter()
            .map(|it| run_line(&view, it, now))
            .collect(),
        next,
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}
