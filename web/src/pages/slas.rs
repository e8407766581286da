//! The board of promises: countdowns, predictions, and how promises were kept.

use super::forms::{BY, see};
use super::{Page, frame, is_fragment, shown};
use crate::html::{
    Filter, Html, KeptCell, KeptLine, MissedLine, PromiseLine, SilenceLine, SlasPage, run_link,
    signed, told,
};
use crate::input::{Form, Query};
use crate::problem::Outcome;
use crate::routes::Routes;
use crate::state::App;
use crate::text::clock;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use dalsegno_scheduler::row::{SilenceRow, SlaRow, SlaState};
use dalsegno_scheduler::sla::Prediction;
use dalsegno_scheduler::{FlowName, Input, Scheduler, Span, Timestamp};
use dalsegno_store::{Attainment, SlaFilter};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many that count are shown; the most urgent come first.
const SHOWN: usize = 100;
/// How many missed ones are shown.
const MISSED: usize = 20;
/// So many weeks, this one included.
const WEEKS: i64 = 8;
const WEEK: Span = Span::from_mins(7 * 24 * 60);

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get("/slas", slas)
        .post("/slas/acknowledge", acknowledge)
}

async fn slas(State(app): State<Arc<App>>, query: Query) -> Page {
    let now = app.engine().now();
    let (view, store) = (app.engine().view(), app.engine().store());
    let wanted = query.get("show").unwrap_or("all").to_owned();
    let is_late = |it: &&Arc<SlaRow>| matches!(it.state, SlaState::AtRisk | SlaState::Missed);
    let mut open: Vec<&Arc<SlaRow>> = view
        .slas()
        .filter(|it| wanted != "late" || is_late(it))
        .collect();
    open.sort_by_key(|it| (urgency(it), it.due_at, &it.flow));
    let more = open.len().saturating_sub(SHOWN);
    let open = open.into_iter().take(SHOWN);
    let from = Timestamp(now.0 - (WEEKS - 1) * WEEK.0);
    let weeks = store.attainment(from, now).await?;
    let filter = SlaFilter {
        states: vec![SlaState::Missed, SlaState::MetLate],
        to: Some(now),
        ..SlaFilter::default()
    };
    let missed = store.slas(&filter, None, MISSED).await?;
    let filters = [("all", "all that count"), ("late", "at risk or missed")];
    let (first, kept) = kept(&weeks, now);
    let page = SlasPage {
        frame: frame(&app, "slas", ""),
        filters: filters
            .into_iter()
            .map(|(word, label)| Filter {
                label: label.to_owned(),
                href: format!("/slas?show={word}"),
                here: wanted == word,
            })
            .collect(),
        open: open.map(|it| promise_line(&view, it, now)).collect(),
        more,
        weeks: first,
        kept,
        missed: missed
            .items
            .iter()
            .filter(|it| it.withdrawn.is_none())
            .map(|it| missed_line(&view, it, now))
            .collect(),
        silences: view.silences().map(|it| silence_line(it, now)).collect(),
    };
    shown(match is_fragment(&query) {
        true => page.as_live().render(),
        false => page.render(),
    })
}

async fn acknowledge(State(app): State<Arc<App>>, form: Form) -> Outcome<Response> {
    let text = |name: &str| form.get(name).unwrap_or_default();
    let asked = Input::Acknowledge {
        flow: FlowName::new(text("flow")),
        promise: text("promise").into(),
        period: text("period").into(),
        by: BY.into(),
        note: Some(text("note").to_owned()).filter(|it| !it.is_empty()),
    };
    app.engine().ask(asked).await?;
    Ok(see("/slas"))
}

const fn urgency(row: &SlaRow) -> u8 {
    match (row.state, row.acknowledged.is_some()) {
        (SlaState::Missed, false) => 0,
        (SlaState::AtRisk, false) => 1,
        (SlaState::Missed | SlaState::AtRisk, true) => 2,
        _ => 3,
    }
}

/// What was promised, in words.
fn what(view: &Scheduler, row: &SlaRow) -> String {
    let flow = view.flow(row.flow.as_str()).and_then(|it| it.flow.as_ref());
    let promise = flow.and_then(|it| it.promise(&row.promise));
    promise.map_or_else(|| row.promise.to_string(), |it| it.text())
}

fn sign(row: &SlaRow) -> Html {
    match row.state {
        SlaState::OnTime => signed("queued", "on time"),
        SlaState::AtRisk => signed("caught", "at risk"),
        SlaState::Missed => signed("failed", "missed"),
        SlaState::Met => signed("succeeded", "met"),
        SlaState::MetLate => signed("caught", "met late"),
    }
}

fn promise_line(view: &Scheduler, row: &SlaRow, now: Timestamp) -> PromiseLine {
    let prediction = row
        .prediction
        .as_deref()
        .filter(|_| row.missed_at.is_none());
    let culprit = prediction.and_then(|it| it.culprit.as_ref());
    let is_late = matches!(row.state, SlaState::AtRisk | SlaState::Missed);
    PromiseLine {
        flow: row.flow.to_string(),
        promise: row.promise.to_string(),
        period: row.period.to_string(),
        what: what(view, row),
        run: row.run.filter(|it| view.run(*it).is_some()).map(run_link),
        state: sign(row),
        due: told(row.due_at, now),
        outlook: prediction.map(|it| outlook(it, row.due_at, now)),
        chance: prediction.map_or_else(String::new, |it| {
            format!("{} %", (it.chance_permille + 5) / 10)
        }),
        because: culprit.filter(|_| is_late).map(|it| it.text(&row.flow)),
        seen: row.acknowledged.as_ref().map(|it| match &it.note {
            Some(note) => format!("seen by {}: {note}", it.by),
            None => format!("seen by {}", it.by),
        }),
        silenced: row.silenced_until.map(|it| told(it, now)),
        may_acknowledge: is_late && row.acknowledged.is_none(),
    }
}

/// From now to whichever comes last: where the end is expected, from the middle case to nine in ten, and when it is due.
fn outlook(it: &Prediction, due_at: Timestamp, now: Timestamp) -> Html {
    let span = (it.finish_p90.max(due_at) - now).0.max(1) * 11 / 10;
    let at =
        |at: Timestamp| ((at - now).0.clamp(0, span) as i128 * 1_000 / i128::from(span)) as i64;
    let (p50, p90, due) = (at(it.finish_p50), at(it.finish_p90), at(due_at));
    let sign = match it.finish_p50 > due_at {
        true => "bad",
        false if it.finish_p90 > due_at => "warn",
        false => "ok",
    };
    let (p50_text, p90_text) = (clock(it.finish_p50), clock(it.finish_p90));
    let width = (p90 - p50).max(12);
    // To the minute, and the day only where it is another one.
    let short = |at: Timestamp| {
        let (text, today) = (clock(at), clock(now));
        let from = if text[..10] == today[..10] { 11 } else { 5 };
        Html(format!(
            r#"<time datetime="{at}">{}</time>"#,
            &text[from..16]
        ))
    };
    Html(format!(
        r#"<div class="outlook" title="expected at {p50_text} UTC, nine times in ten by {p90_text} UTC"><svg viewBox="0 0 1000 24" preserveAspectRatio="none" aria-hidden="true"><rect class="way" x="0" y="9" width="1000" height="6" rx="3"/><rect class="{sign}" x="{p50}" y="5" width="{width}" height="14" rx="4"/><line x1="{due}" x2="{due}" y1="0" y2="24"/></svg><span>{} <span class="soft">to {}</span></span></div>"#,
        short(it.finish_p50),
        short(it.finish_p90),
    ))
}

fn missed_line(view: &Scheduler, row: &SlaRow, now: Timestamp) -> MissedLine {
    let culprit = row.prediction.as_ref().and_then(|it| it.culprit.as_ref());
    MissedLine {
        flow: row.flow.to_string(),
        what: what(view, row),
        run: row.run.map(run_link),
        due: told(row.due_at, now),
        late: match row.met_at {
            Some(at) => signed("caught", &format!("met {} late", at - row.due_at)),
            None if row.open => signed("failed", "not met yet"),
            None => signed("failed", "never met"),
        },
        because: culprit.map(|it| it.text(&row.flow)),
    }
}

fn silence_line(it: &SilenceRow, now: Timestamp) -> SilenceLine {
    let of = match (&it.flow, &it.promise) {
        (None, _) => "all promises".to_owned(),
        (Some(flow), None) => format!("promises of {flow}"),
        (Some(flow), Some(promise)) => format!("{promise} of {flow}"),
    };
    SilenceLine {
        of,
        until: told(it.until, now),
        by: it.by.clone(),
        note: it.note.clone().unwrap_or_default(),
    }
}

/// The first days of the weeks, and each promise's weeks; the worst kept first.
fn kept(weeks: &[Attainment], now: Timestamp) -> (Vec<String>, Vec<KeptLine>) {
    let monday = |at: Timestamp| {
        let to_monday = Span::from_mins(3 * 24 * 60).0;
        Timestamp((at.0 + to_monday).div_euclid(WEEK.0) * WEEK.0 - to_monday)
    };
    let last = monday(now);
    let all: Vec<Timestamp> = (0..WEEKS)
        .rev()
        .map(|back| Timestamp(last.0 - back * WEEK.0))
        .collect();
    // Kept and missed, by week.
    type OfWeeks = BTreeMap<Timestamp, (u64, u64)>;
    let mut lines: BTreeMap<(&FlowName, &str), OfWeeks> = BTreeMap::new();
    for it in weeks {
        let line = lines.entry((&it.flow, it.promise.as_str())).or_default();
        line.insert(it.week, (it.kept, it.missed));
    }
    let mut kept: Vec<(u64, KeptLine)> = lines
        .into_iter()
        .map(|((flow, promise), of)| {
            let sum = of
                .values()
                .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
            let cell = |week: &Timestamp| cell(of.get(week).copied().unwrap_or((0, 0)));
            let line = KeptLine {
                flow: flow.to_string(),
                promise: promise.to_owned(),
                cells: all.iter().map(cell).collect(),
                all: self::cell(sum),
            };
            (sum.0 * 1_000 / (sum.0 + sum.1).max(1), line)
        })
        .collect();
    kept.sort_by_key(|(share, _)| *share);
    let days = all.iter().map(|it| clock(*it)[5..10].to_owned());
    (days.collect(), kept.into_iter().map(|(_, it)| it).collect())
}

fn cell((kept, missed): (u64, u64)) -> KeptCell {
    let all = kept + missed;
    if all == 0 {
        return KeptCell {
            text: String::new(),
            title: "nothing was due".to_owned(),
            sign: "",
        };
    }
    // Rounded down: 100 % is all of them.
    let percent = kept * 100 / all;
    KeptCell {
        text: format!("{percent} %"),
        title: format!("{kept} of {all} kept"),
        sign: match percent {
            100 => "ok",
            90..100 => "warn",
            _ => "bad",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_without_a_due_moment_are_empty_and_the_worst_promise_comes_first() {
        let now = Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").expect("a time");
        let week = |flow: &str, monday: &str, kept, missed| Attainment {
            flow: flow.into(),
            promise: "finish_by".to_owned(),
            week: Timestamp::parse_rfc3339(&format!("{monday}T00:00:00Z")).expect("a time"),
            kept,
            missed,
        };
        let weeks = [
            week("a", "2026-11-16", 6, 0),
            week("b", "2026-11-09", 999, 1),
            week("b", "2026-11-16", 3, 3),
        ];
        let (days, lines) = kept(&weeks, now);
        assert_eq!((days[0].as_str(), days[7].as_str()), ("09-28", "11-16"));
        let told: Vec<String> = lines
            .iter()
            .map(|it| {
                let cells: Vec<&str> = it.cells[5..].iter().map(|it| it.text.as_str()).collect();
                format!("{} {cells:?} {}", it.flow, it.all.text)
            })
            .collect();
        assert_eq!(
            told,
            [
                r#"b ["", "99 %", "50 %"] 99 %"#,
                r#"a ["", "", "100 %"] 100 %"#
            ]
        );
    }
}
