//! Pages of backfills: the list, one with its progress, and the plan of a new one.

use super::forms::{BY, refused, see};
use super::lines::{choice, flow_href, moment};
use super::{Page, frame, is_fragment, shown};
use crate::html::{
    BackfillLine, BackfillPage, BackfillsPage, Filter, Html, ItemLine, Notice, PlanInterval,
    PlanLine, PlanPage, PlanPanel, big_state, exact_and_told, fact, run_link, signed, state, told,
};
use crate::input::{Form, PAGE_DEFAULT, Query};
use crate::problem::{Failure, Outcome, status};
use crate::read;
use crate::routes::Routes;
use crate::state::App;
use crate::text::{clock, url_encode};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use dalsegno_engine::Code;
use dalsegno_scheduler::backfill::{
    BACKFILL_PARALLEL_MAX, BackfillView, Plan, PlanItem, PlanRequest, Verdict,
};
use dalsegno_scheduler::row::{
    BackfillItemRow, BackfillItemState, BackfillMode, BackfillRow, BackfillState, Interval,
};
use dalsegno_scheduler::{Answer, BackfillChange, FlowName, Input, Timestamp};
use dalsegno_store::{BackfillFilter, Cursor};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// How many intervals of a plan its page shows.
const INTERVALS_MAX: usize = 200;

/// How many running and failed items stand above the list of all.
const TOLD_MAX: usize = 20;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/backfills", list)
        .post("/backfills", apply)
        .get("/backfills/new", plan)
        .get("/backfills/{id}", one)
        .post("/backfills/{id}/pause", pause)
        .post("/backfills/{id}/resume", resume)
        .post("/backfills/{id}/cancel", cancel)
}

async fn list(State(app): State<Arc<App>>, query: Query) -> Page {
    let now = app.engine().now();
    let store = app.engine().store();
    let cursor = query.get("cursor").map(Cursor::from);
    let filter = BackfillFilter::default();
    let found = store
        .backfills(&filter, cursor.as_ref(), PAGE_DEFAULT)
        .await?;
    let mut backfills = Vec::with_capacity(found.items.len());
    for row in &found.items {
        let live = app.engine().view().backfill(row.id);
        let counts = counts(&app, row.id, live.as_ref()).await?;
        let row = live.as_ref().map_or(row, |it| &it.row);
        backfills.push(BackfillLine {
            id: row.id,
            href: format!("/backfills/{}", row.id),
            flow: row.flow.to_string(),
            flow_href: flow_href(&row.flow),
            state: state(row.state.as_str()),
            span: span(row.from, row.to),
            mode: mode_told(row),
            bar: bar(&counts),
            done: format!("{} of {}", over(&counts), all(&counts)),
            created: told(row.created_at, now),
        });
    }
    let page = BackfillsPage {
        frame: frame(&app, "backfills", ""),
        backfills,
        next: found
            .next
            .map(|it| format!("/backfills?cursor={}", url_encode(&it.0))),
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

fn mode_told(row: &BackfillRow) -> String {
    let downstream = if row.downstream {
        ", and what follows"
    } else {
        ""
    };
    format!("{}{downstream}", mode_words(row.mode))
}

const fn mode_words(mode: BackfillMode) -> &'static str {
    match mode {
        BackfillMode::Missing => "what is missing",
        BackfillMode::Failed => "what failed",
        BackfillMode::All => "everything again",
    }
}

type Counts = BTreeMap<BackfillItemState, u64>;

/// How many items are in which state.
async fn counts(app: &App, id: u64, live: Option<&BackfillView>) -> Outcome<Counts> {
    let mut counts = Counts::new();
    match live {
        Some(live) => {
            for (state, items) in &live.counts {
                *counts.entry(*state).or_default() += u64::from(*items);
            }
        }
        None => {
            for it in app.engine().store().backfill_counts(id).await? {
                *counts.entry(it.state).or_default() += it.items;
            }
        }
    }
    Ok(counts)
}

fn all(counts: &Counts) -> u64 {
    counts.values().sum()
}

fn over(counts: &Counts) -> u64 {
    let live = [BackfillItemState::Waiting, BackfillItemState::Running];
    let over = counts.iter().filter(|(it, _)| !live.contains(it));
    over.map(|(_, items)| items).sum()
}

/// What is over stands at the left, what waits at the right.
const ORDER: [BackfillItemState; 5] = [
    BackfillItemState::Succeeded,
    BackfillItemState::Failed,
    BackfillItemState::Skipped,
    BackfillItemState::Running,
    BackfillItemState::Waiting,
];

/// A bar by state, told in words for those who do not see it.
fn bar(counts: &Counts) -> Html {
    const WIDTH: u64 = 1_000;
    let all = all(counts).max(1);
    let (mut html, mut before) = (String::new(), 0);
    let told: Vec<String> = counts_told(counts);
    let _ = write!(
        html,
        r#"<svg class="progress" viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" role="img" aria-label="{0}"><title>{0}</title><rect class="ground" width="{WIDTH}" height="10"/>"#,
        told.join(", ")
    );
    for state in ORDER {
        let items = counts.get(&state).copied().unwrap_or(0);
        let from = before * WIDTH / all;
        before += items;
        let width = before * WIDTH / all - from;
        if items > 0 && state != BackfillItemState::Waiting {
            let _ = write!(
                html,
                r#"<rect class="s-{state}" x="{from}" width="{}" height="10"/>"#,
                width.max(2)
            );
        }
    }
    html.push_str("</svg>");
    Html(html)
}

fn counts_told(counts: &Counts) -> Vec<String> {
    let parts = ORDER.iter().filter_map(|state| {
        let items = counts.get(state).copied().filter(|it| *it > 0)?;
        Some(format!("{items} {state}"))
    });
    parts.collect()
}

/// `[from, to)` as days where it is whole days, for those are easier to read.
fn span(from: Timestamp, to: Timestamp) -> Html {
    Html(format!(
        r#"<span class="nowrap">{}</span> – <span class="nowrap">{}</span>"#,
        short(from),
        short(to)
    ))
}

fn short(at: Timestamp) -> String {
    let text = clock(at);
    let text = text.strip_suffix(":00").unwrap_or(&text);
    let text = text.strip_suffix(" 00:00").unwrap_or(text);
    format!(r#"<time datetime="{at}">{text}</time>"#)
}

async fn found(app: &App, id: &str) -> Outcome<(BackfillRow, Option<BackfillView>)> {
    let unknown = || Failure::new(Code::UnknownBackfill, format!("there is no backfill {id}"));
    let number: u64 = id.parse().map_err(|_| unknown())?;
    if let Some(live) = app.engine().view().backfill(number) {
        return Ok((BackfillRow::clone(&live.row), Some(live)));
    }
    let stored = app.engine().store().backfill(number).await?;
    Ok((stored.ok_or_else(unknown)?, None))
}

async fn one(State(app): State<Arc<App>>, Path(id): Path<String>, query: Query) -> Page {
    let page = build(&app, &id, &query, None).await?;
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

async fn build(
    app: &App,
    id: &str,
    query: &Query,
    notice: Option<Notice>,
) -> Outcome<BackfillPage> {
    let now = app.engine().now();
    let store = app.engine().store();
    let (row, live) = found(app, id).await?;
    let counts = counts(app, row.id, live.as_ref()).await?;
    let chosen = query.word("state", BackfillItemState::ALL, |it| it.as_str())?;
    let cursor = query.get("cursor").map(Cursor::from);
    let of = async |state, cursor: Option<&Cursor>, limit| {
        store.backfill_items(row.id, state, cursor, limit).await
    };
    let items = of(chosen, cursor.as_ref(), PAGE_DEFAULT).await?;
    let failed = of(Some(BackfillItemState::Failed), None, TOLD_MAX).await?;
    let running = of(Some(BackfillItemState::Running), None, TOLD_MAX).await?;
    let narrowed = chosen.map(|it| format!("state={it}&")).unwrap_or_default();
    let lines = |items: &[BackfillItemRow]| items.iter().map(item_line).collect();
    let rest = match &live {
        Some(live) => {
            let flows: Vec<FlowName> = live.left.keys().cloned().collect();
            live.rest(&store.typical_durations(&flows).await?)
        }
        None => None,
    };
    let mut facts = vec![
        fact("Intervals", span(row.from, row.to)),
        fact("Runs", Html::text(mode_told(&row))),
        fact("At once", Html::text(row.parallel)),
        fact("Ordered by", Html::text(&row.by)),
        fact("Created", exact_and_told(row.created_at, now)),
    ];
    if let Some(rest) = rest {
        facts.push(fact("Left, about", Html::text(rest)));
    }
    if let Some(at) = row.finished_at {
        facts.push(fact("Finished", exact_and_told(at, now)));
    }
    let unfinished =
        |it: BackfillState| matches!(it, BackfillState::Running | BackfillState::Paused);
    Ok(BackfillPage {
        frame: frame(app, "backfills", ""),
        notice,
        id: row.id,
        flow: row.flow.to_string(),
        flow_href: flow_href(&row.flow),
        state: big_state(row.state.as_str()),
        can_pause: row.state == BackfillState::Running,
        can_resume: row.state == BackfillState::Paused,
        can_cancel: unfinished(row.state),
        facts,
        bar: bar(&counts),
        counts: ORDER
            .iter()
            .filter_map(|state| {
                let items = counts.get(state).copied().filter(|it| *it > 0)?;
                Some(signed(state.as_str(), &format!("{items} {state}")))
            })
            .collect(),
        reason: row.reason.as_ref().map(ToString::to_string),
        failed: lines(&failed.items),
        running: lines(&running.items),
        filters: filters(row.id, chosen, &counts),
        items: lines(&items.items),
        next: items.next.map(|it| {
            format!(
                "/backfills/{}?{narrowed}cursor={}",
                row.id,
                url_encode(&it.0)
            )
        }),
    })
}

fn filters(id: u64, chosen: Option<BackfillItemState>, counts: &Counts) -> Vec<Filter> {
    let mut filters = vec![Filter {
        label: format!("all {}", all(counts)),
        href: format!("/backfills/{id}#items"),
        here: chosen.is_none(),
    }];
    for state in ORDER {
        let items = counts.get(&state).copied().unwrap_or(0);
        if items > 0 || chosen == Some(state) {
            filters.push(Filter {
                label: format!("{state} {items}"),
                href: format!("/backfills/{id}?state={state}#items"),
                here: chosen == Some(state),
            });
        }
    }
    filters
}

fn item_line(it: &BackfillItemRow) -> ItemLine {
    ItemLine {
        number: it.number,
        flow: it.flow.to_string(),
        flow_href: flow_href(&it.flow),
        interval: span(it.interval.start, it.interval.end),
        state: state(it.state.as_str()),
        run: it.run.map(run_link).unwrap_or_default(),
        why: match (&it.reason, it.after.len()) {
            (Some(reason), _) => Html::text(reason),
            (None, 0) => Html::default(),
            (None, _) if it.state != BackfillItemState::Waiting => Html::default(),
            (None, 1) => Html::text(format_args!("after item {}", it.after[0])),
            (None, many) => Html::text(format_args!("after {many} items before it")),
        },
    }
}

async fn pause(app: State<Arc<App>>, id: Path<String>) -> Outcome<Response> {
    change(&app, &id, BackfillChange::Pause).await
}

async fn resume(app: State<Arc<App>>, id: Path<String>) -> Outcome<Response> {
    change(&app, &id, BackfillChange::Resume).await
}

async fn cancel(app: State<Arc<App>>, id: Path<String>) -> Outcome<Response> {
    change(&app, &id, BackfillChange::Cancel).await
}

async fn change(app: &App, id: &str, change: BackfillChange) -> Outcome<Response> {
    let (row, _) = found(app, id).await?;
    let input = Input::ChangeBackfill {
        backfill: row.id,
        change,
        by: BY.into(),
    };
    match app.engine().ask(input).await.map_err(Failure::from) {
        Ok(_) => Ok(see(&format!("/backfills/{}", row.id))),
        Err(Failure(problem)) => {
            let page = build(app, id, &Query::default(), Some(refused(&problem))).await?;
            Ok((status(&problem), shown(page.render())?).into_response())
        }
    }
}

/// What a form says about a backfill, as it was written.
struct Asked {
    flow: Option<String>,
    from: Option<String>,
    to: Option<String>,
    mode: Option<String>,
    downstream: bool,
    parallel: Option<String>,
}

impl Asked {
    fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            flow: get("flow"),
            from: get("from"),
            to: get("to"),
            mode: get("mode"),
            downstream: get("downstream").is_some(),
            parallel: get("parallel"),
        }
    }

    /// `None` while something needed is not filled in.
    fn request(&self) -> Outcome<Option<PlanRequest>> {
        let (Some(flow), Some(from), Some(to)) = (&self.flow, &self.from, &self.to) else {
            return Ok(None);
        };
        let mode = self.mode.as_deref().unwrap_or("missing");
        let mode = BackfillMode::parse(mode).ok_or_else(|| {
            let detail = format!("there is no mode `{mode}`: missing, failed or all is expected");
            Failure::new(Code::BadRequest, detail)
        })?;
        let parallel = self.parallel.as_deref().unwrap_or("1");
        let number = parallel.parse().ok();
        let number = number.filter(|it| (1..=BACKFILL_PARALLEL_MAX).contains(it));
        let parallel = number.ok_or_else(|| {
            let detail = format!(
                "`{parallel}` runs at once: a whole number from 1 to {BACKFILL_PARALLEL_MAX} is expected"
            );
            Failure::new(Code::BadRequest, detail)
        })?;
        Ok(Some(PlanRequest {
            flow: FlowName::new(flow),
            from: moment("from", from)?,
            to: moment("to", to)?,
            mode,
            downstream: self.downstream,
            parallel,
        }))
    }
}

async fn plan(State(app): State<Arc<App>>, query: Query) -> Outcome<Response> {
    let asked = Asked::read(|name| query.get(name).map(str::to_owned));
    let (planned, problem) = match planned(&app, &asked).await {
        Ok(plan) => (plan, None),
        Err(Failure(problem)) => (None, Some(problem)),
    };
    let code = problem.as_ref().map(status).unwrap_or_default();
    let page = plan_page(&app, &asked, planned, problem.as_ref().map(refused));
    Ok((code, shown(page.render())?).into_response())
}

async fn planned(app: &App, asked: &Asked) -> Outcome<Option<Plan>> {
    let Some(request) = asked.request()? else {
        return Ok(None);
    };
    read::flow(&app.engine().view(), request.flow.as_str())?;
    Ok(Some(app.engine().plan_backfill(&request).await?))
}

fn plan_page(app: &App, asked: &Asked, plan: Option<Plan>, notice: Option<Notice>) -> PlanPage {
    let view = app.engine().view();
    let chosen = asked.flow.as_deref();
    let flows = view.flows().filter(|it| {
        let has_schedule = |it: &Arc<dalsegno_scheduler::Flow>| it.schedules().next().is_some();
        let is_chosen = chosen == Some(it.row.name.as_str());
        is_chosen || (!it.row.removed && it.flow.as_ref().is_some_and(has_schedule))
    });
    let mode = asked.mode.as_deref().unwrap_or("missing");
    let parallel = asked.parallel.as_deref().and_then(|it| it.parse().ok());
    PlanPage {
        frame: frame(app, "backfills", ""),
        notice,
        flows: flows
            .map(|it| choice(it.row.name.as_str(), it.row.name.as_str(), chosen))
            .collect(),
        from: asked.from.clone().unwrap_or_default(),
        to: asked.to.clone().unwrap_or_default(),
        modes: BackfillMode::ALL
            .iter()
            .map(|it| choice(it.as_str(), mode_words(*it), Some(mode)))
            .collect(),
        downstream: asked.downstream,
        parallel: parallel.unwrap_or(1),
        plan: plan.map(|it| plan_panel(&it)),
        form_key: uuid::Uuid::new_v4().to_string(),
    }
}

fn plan_panel(plan: &Plan) -> PlanPanel {
    let count = |verdict| plan.items.iter().filter(|it| it.verdict == verdict).count();
    let (runs, kept) = (plan.runs(), count(Verdict::Keep));
    let conflicts = count(Verdict::Conflict);
    let mut parts = vec![format!("{runs} run{}", if runs == 1 { "" } else { "s" })];
    if kept > 0 {
        parts.push(format!(
            "{kept} stay{} as they are",
            if kept == 1 { "s" } else { "" }
        ));
    }
    if conflicts > 0 {
        parts.push(format!("{conflicts} in conflict"));
    }
    if let Some(estimate) = plan.estimate.filter(|_| runs > 0) {
        parts.push(format!("about {estimate}"));
    }
    let mut intervals: Vec<PlanInterval> = Vec::new();
    let (mut last, mut more): (Option<Interval>, usize) = (None, 0);
    let depths = depths(plan);
    for (number, item) in plan.items.iter().enumerate() {
        if last != Some(item.interval) {
            last = Some(item.interval);
            if intervals.len() == INTERVALS_MAX {
                more += 1;
                continue;
            }
            intervals.push(PlanInterval {
                told: span(item.interval.start, item.interval.end),
                items: Vec::new(),
            });
        }
        if let Some(interval) = intervals.last_mut().filter(|_| more == 0) {
            interval.items.push(plan_line(item, depths[number]));
        }
    }
    PlanPanel {
        flow: plan.flow.to_string(),
        told: parts.join(" · "),
        mode: plan.mode.as_str(),
        conflicts: plan.conflicts.clone(),
        notes: plan.notes.clone(),
        runs,
        intervals,
        more,
        token: plan.token.clone(),
        ready: plan.conflicts.is_empty() && runs > 0,
    }
}

/// How far below the flow that was asked for each item stands: its flow's place among those in the plan, for each
/// follows one before it.
fn depths(plan: &Plan) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(plan.items.len());
    for item in &plan.items {
        let below = item.after.iter().filter_map(|it| depths.get(*it as usize));
        let below = below.max().map(|it| it + 1);
        let is_first = item.flow == plan.flow;
        depths.push(below.unwrap_or_else(|| usize::from(!is_first)));
    }
    depths
}

fn plan_line(item: &PlanItem, depth: usize) -> PlanLine {
    let there = item.existing.iter().map(|it| {
        let link = run_link(it.run);
        link.then(&Html::text(" ")).then(&state(it.state.as_str()))
    });
    PlanLine {
        depth,
        flow: item.flow.to_string(),
        verdict: match item.verdict {
            Verdict::Run => signed("submitting", "runs"),
            Verdict::Keep => signed("skipped", "stays"),
            Verdict::Conflict => signed("refused", "conflict"),
        },
        there: there.take(3).collect(),
    }
}

async fn apply(State(app): State<Arc<App>>, form: Form) -> Outcome<Response> {
    let asked = Asked::read(|name| form.get(name));
    let problem = match order(&app, &asked, &form).await {
        Ok(id) => return Ok(see(&format!("/backfills/{id}"))),
        Err(Failure(problem)) => problem,
    };
    // The plan as it is now, so that it can be looked at and applied again.
    let planned = planned(&app, &asked).await.ok().flatten();
    let page = plan_page(&app, &asked, planned, Some(refused(&problem)));
    Ok((status(&problem), shown(page.render())?).into_response())
}

async fn order(app: &App, asked: &Asked, form: &Form) -> Outcome<u64> {
    let request = asked.request()?;
    let (Some(request), Some(token)) = (request, form.get("token")) else {
        let detail = "flow, from, to and the plan's token are needed: plan it first";
        return Err(Failure::new(Code::BadRequest, detail));
    };
    read::flow(&app.engine().view(), request.flow.as_str())?;
    let asked = app
        .engine()
        .backfill(request, token, form.get("key"), BY.into());
    match asked.await? {
        Answer::Backfill { backfill, .. } => Ok(backfill),
        other => Err(Failure::new(
            Code::Panic,
            format!("the engine answered {other:?}"),
        )),
    }
}
