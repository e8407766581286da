//! The page of all flows, and the page of all runs.

use super::{Filter, Frame, Html, RunLine};
use crate::text::escape;
use askama::Template;
use dalsegno_scheduler::row::RunRow;
use dalsegno_scheduler::{Span, Timestamp};
use std::fmt::Write as _;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "flows.html", blocks = ["live"])]
pub(crate) struct FlowsPage {
    pub(crate) frame: Frame,
    pub(crate) tiles: Vec<Tile>,
    pub(crate) flows: Vec<FlowLine>,
}

/// A figure that stands out.
pub(crate) struct Tile {
    pub(crate) figure: Html,
    pub(crate) label: String,
    pub(crate) href: Option<String>,
}

pub(crate) struct FlowLine {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) description: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) badges: Vec<Html>,
    pub(crate) next: Option<Html>,
    /// What starts it, in words.
    pub(crate) starts: String,
    pub(crate) bars: Html,
    pub(crate) last: Option<LastRun>,
}

pub(crate) struct LastRun {
    pub(crate) href: String,
    pub(crate) state: Html,
    pub(crate) when: Html,
    pub(crate) took: Option<Html>,
}

#[derive(Template)]
#[template(path = "runs.html", blocks = ["live"])]
pub(crate) struct RunsPage {
    pub(crate) frame: Frame,
    pub(crate) filters: Vec<Filter>,
    pub(crate) runs: Vec<RunLine>,
    pub(crate) next: Option<String>,
}

/// How many runs the bars show.
pub(crate) const BARS_MAX: usize = 30;

/// The last runs, oldest at the left: colour is the state, height the duration beside the longest shown.
pub(crate) fn bars(newest_first: &[Arc<RunRow>], now: Timestamp) -> Html {
    const STEP: f64 = 8.0;
    const HEIGHT: f64 = 30.0;
    let shown: Vec<_> = newest_first.iter().take(BARS_MAX).rev().collect();
    let ran = |run: &RunRow| {
        let started = run.started_at.unwrap_or(now).max(run.queued_at);
        (run.finished_at.unwrap_or(now) - started).max(Span::ZERO)
    };
    let longest = shown.iter().map(|it| ran(it).0).max().unwrap_or(0).max(1) as f64;
    let width = STEP * BARS_MAX as f64;
    let mut svg = format!(
        r#"<svg class="bars" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="last {} runs"><rect class="base" x="0" y="{}" width="{width}" height="1"/>"#,
        shown.len(),
        HEIGHT - 1.0,
    );
    let first = BARS_MAX - shown.len();
    for (place, run) in shown.iter().enumerate() {
        // The square root keeps short runs visible beside long ones.
        let height = 5.0 + (ran(run).0 as f64 / longest).sqrt() * (HEIGHT - 6.0);
        let title = format!("run {}: {}, {}", run.id, run.state, ran(run));
        let _ = write!(
            svg,
            r#"<a href="/runs/{}"><title>{}</title><rect class="s-{}" x="{:.1}" y="{:.1}" width="{:.1}" height="{height:.1}" rx="1.5"/></a>"#,
            run.id,
            escape(&title),
            run.state,
            (first + place) as f64 * STEP,
            HEIGHT - 1.0 - height,
            STEP - 2.0,
        );
    }
    svg.push_str("</svg>");
    Html(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::{badge, state, told, took};

    #[test]
    fn a_flow_is_one_line_with_everything_worth_knowing() {
        let at = Timestamp::from_secs;
        let line = FlowLine {
            name: "etl".into(),
            href: "/flows/etl".into(),
            description: Some("Loads <orders> & more".into()),
            owner: Some("sales".into()),
            tags: vec!["daily".into()],
            badges: vec![badge("paused", "paused", "by ada \"for now\"")],
            next: Some(told(at(3_660), at(60))),
            starts: "at 06:00 (Europe/Berlin)".into(),
            bars: bars(&[], at(60)),
            last: Some(LastRun {
                href: "/runs/7".into(),
                state: state("timed_out"),
                when: told(at(0), at(60)),
                took: Some(took(at(0), Some(at(30)), at(60))),
            }),
        };
        let page = FlowsPage {
            frame: Frame {
                nav: "flows",
                live: "/api/v1/live".into(),
                version: "0".into(),
            },
            tiles: vec![Tile {
                figure: Html::text(3),
                label: "running".into(),
                href: Some("/runs?state=unfinished".into()),
            }],
            flows: vec![line],
        };
        insta::assert_snapshot!(page.as_live().render().expect("rendered"));
    }
}
