//! The run's time line as SVG: one row per task; waiting, starting and running told apart; attempts side by side.

use crate::text::{escape, shorten};
use dalsegno_scheduler::{Span, Timestamp};
use std::fmt::Write as _;

const WIDTH: f64 = 1180.0;
const LABELS: f64 = 230.0;
/// So many characters of a label fit beside the lanes, also wide ones.
const LABEL_CHARS: usize = 28;
const RIGHT: f64 = 22.0;
const TOP: f64 = 30.0;
const ROW: f64 = 26.0;
const BAR: f64 = 14.0;
/// The narrowest bar that can be seen and hit.
const BAR_MIN: f64 = 6.0;
/// Ticks stand at least so far apart.
const TICK_MIN: f64 = 84.0;

/// A time line to draw.
#[derive(Clone, Debug)]
pub struct Chart {
    pub rows: Vec<Row>,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Draws a thin line; `None` when all is over.
    pub now: Option<Timestamp>,
    /// The run's timeout, drawn as a flag when it is in view.
    pub deadline: Option<Timestamp>,
}

/// One task.
#[derive(Clone, Debug)]
pub struct Row {
    pub label: String,
    pub link: Option<String>,
    /// The step's name, to light it together with its card.
    pub step: String,
    pub state: &'static str,
    pub bars: Vec<Bar>,
    /// Said in place of bars.
    pub note: Option<String>,
}

/// One attempt, or the wait for one.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Counted from 1; 0 for a task that still waits for its first.
    pub number: u32,
    /// When the attempt before it ended, which it is the retry of.
    pub retry_since: Option<Timestamp>,
    /// Since when it waited for a slot.
    pub queued_at: Option<Timestamp>,
    pub submitted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub until: Timestamp,
    /// How it ended, or `running`.
    pub state: &'static str,
}

/// Draws a time line; empty text when there are no rows.
pub fn draw(chart: &Chart) -> String {
    if chart.rows.is_empty() {
        return String::new();
    }
    let height = TOP + ROW * chart.rows.len() as f64 + 10.0;
    let length = (chart.to - chart.from).0.max(1_000);
    let place = |at: Timestamp| {
        let share = (at - chart.from).0.clamp(0, length) as f64 / length as f64;
        LABELS + share * (WIDTH - LABELS - RIGHT)
    };
    let mut svg = String::new();
    let _ = write!(
        svg,
        r##"<svg class="gantt" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="time line of the tasks"><defs><pattern id="wait" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="wait-ground" width="6" height="6"/><line class="wait-line" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>"##
    );
    for at in ticks(length) {
        let x = place(chart.from + at);
        let _ = write!(
            svg,
            r#"<line class="tick" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"/><text class="ax" x="{x:.1}" y="16" text-anchor="middle">{at}</text>"#,
            TOP - 6.0,
            height - 6.0
        );
    }
    for (index, row) in chart.rows.iter().enumerate() {
        draw_row(&mut svg, row, TOP + ROW * index as f64, &place);
    }
    if let Some(now) = chart.now {
        let x = place(now);
        let _ = write!(
            svg,
            r#"<line class="now" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"/>"#,
            TOP - 8.0,
            height - 4.0
        );
    }
    if let Some(at) = chart.deadline.filter(|at| *at <= chart.to) {
        let x = place(at);
        let _ = write!(
            svg,
            r#"<path class="flag" d="M{x:.1},{:.1} V{:.1} l9,4 l-9,4"><title>timeout of the run</title></path>"#,
            height - 4.0,
            TOP - 10.0
        );
    }
    svg.push_str("</svg>");
    svg
}

fn draw_row(svg: &mut String, row: &Row, y: f64, place: &impl Fn(Timestamp) -> f64) {
    let short = shorten(&row.label, LABEL_CHARS);
    let whole = match short == row.label {
        true => String::new(),
        false => format!("<title>{}</title>", escape(&row.label)),
    };
    let label = whole + &escape(&short);
    let (open, close) = match &row.link {
        Some(link) => (
            format!(r#"<a href="{}" data-swap="">"#, escape(link)),
            "</a>",
        ),
        None => (String::new(), ""),
    };
    let _ = write!(
        svg,
        r##"<g class="row s-{}" data-step="{}"><rect class="lane" x="0" y="{:.1}" width="{WIDTH}" height="{ROW}"/>{open}<use class="icon" href="#i-{}" x="4" y="{:.1}" width="14" height="14"/><text class="label" x="24" y="{:.1}">{label}</text>{close}"##,
        row.state,
        escape(&row.step),
        y - 2.0,
        row.state,
        y + (ROW - 18.0) / 2.0,
        y + 15.0,
    );
    if let Some(note) = row.note.as_deref().filter(|_| row.bars.is_empty()) {
        let (x, y) = (LABELS + 8.0, y + 15.0);
        let _ = write!(
            svg,
            r#"<text class="note" x="{x:.1}" y="{y:.1}">{}</text>"#,
            escape(note)
        );
    }
    for bar in &row.bars {
        draw_bar(svg, row, bar, y + (ROW - BAR) / 2.0 - 2.0, place);
    }
    svg.push_str("</g>");
}

fn draw_bar(svg: &mut String, row: &Row, bar: &Bar, y: f64, place: &impl Fn(Timestamp) -> f64) {
    if let Some(since) = bar.retry_since {
        let until = bar.queued_at.or(bar.submitted_at).unwrap_or(bar.until);
        let (x, end) = (place(since), place(until));
        if end - x > 0.2 {
            let _ = write!(
                svg,
                r#"<g><title>{}: waits for its retry · {}</title><rect class="queued retry" x="{x:.1}" y="{y:.1}" width="{:.1}" height="{BAR}" rx="3"/></g>"#,
                escape(&row.label),
                until - since,
                end - x
            );
        }
    }
    if bar.number == 0 && bar.queued_at.is_none() {
        return;
    }
    let _ = write!(svg, "<g><title>{}</title>", escape(&bar.told(&row.label)));
    let mut segment = |class: &str, from: Timestamp, to: Timestamp, least: f64| {
        let x = place(from);
        let width = (place(to) - x).max(least).min(WIDTH - RIGHT + BAR_MIN - x);
        if width > 0.2 {
            let _ = write!(
                svg,
                r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}" rx="3"/>"#
            );
        }
        (x, width)
    };
    if let Some(queued) = bar.queued_at {
        let until = bar.submitted_at.unwrap_or(bar.until);
        let least = if bar.submitted_at.is_none() {
            BAR_MIN
        } else {
            0.0
        };
        segment("queued", queued, until, least);
    }
    if let Some(submitted) = bar.submitted_at {
        let until = bar.started_at.unwrap_or(bar.until);
        segment("submitted", submitted, until, 0.0);
        let from = bar.started_at.unwrap_or(submitted);
        let (x, width) = segment(&format!("bar s-{}", bar.state), from, bar.until, BAR_MIN);
        if bar.number > 0 && width > 16.0 && row.bars.len() > 1 {
            let _ = write!(
                svg,
                r#"<text class="number" x="{:.1}" y="{:.1}">{}</text>"#,
                x + 5.0,
                y + 11.0,
                bar.number
            );
        }
    }
    svg.push_str("</g>");
}

impl Bar {
    fn told(&self, label: &str) -> String {
        let mut text = match self.number {
            0 => format!("{label}: waits"),
            number => format!("{label}, attempt {number}: {}", self.state),
        };
        if let Some(queued) = self.queued_at {
            let waited = self.submitted_at.unwrap_or(self.until) - queued;
            let _ = write!(text, " · waited {waited}");
        }
        if let Some(started) = self.started_at {
            let _ = write!(text, " · ran {}", self.until - started);
        }
        text
    }
}

/// Where ticks stand: steps of 1, 2, 5 or a unit of the clock, at least [`TICK_MIN`] apart.
fn ticks(length_us: i64) -> impl Iterator<Item = Span> {
    const S: i64 = 1_000_000;
    const STEPS: [i64; 31] = [
        1_000,
        2_000,
        5_000,
        10_000,
        20_000,
        50_000,
        100_000,
        200_000,
        500_000,
        S,
        2 * S,
        5 * S,
        10 * S,
        15 * S,
        30 * S,
        60 * S,
        120 * S,
        300 * S,
        600 * S,
        900 * S,
        1_800 * S,
        3_600 * S,
        7_200 * S,
        10_800 * S,
        21_600 * S,
        43_200 * S,
        86_400 * S,
        172_800 * S,
        432_000 * S,
        864_000 * S,
        2_592_000 * S,
    ];
    let most = ((WIDTH - LABELS - RIGHT) / TICK_MIN) as i64;
    let step = STEPS.into_iter().find(|it| length_us / it <= most);
    let step = step.unwrap_or_else(|| length_us / most.max(1));
    (0..=length_us / step).map(move |it| Span(it * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_never_crowded() {
        let told = |secs: i64| {
            ticks(secs * 1_000_000)
                .map(|it| it.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(told(10), "0s 1s 2s 3s 4s 5s 6s 7s 8s 9s 10s");
        assert_eq!(
            told(100),
            "0s 10s 20s 30s 40s 50s 1m 1m 10s 1m 20s 1m 30s 1m 40s"
        );
        assert!(ticks(i64::MAX).count() <= 13);
    }

    #[test]
    fn waiting_and_running_are_told_apart_and_retries_stand_side_by_side() {
        let at = Timestamp::from_secs;
        let chart = Chart {
            from: at(0),
            to: at(20),
            now: Some(at(20)),
            deadline: None,
            rows: vec![Row {
                label: "load <all>".into(),
                link: Some("/runs/1?task=load".into()),
                step: "load".into(),
                state: "running",
                note: None,
                bars: vec![
                    Bar {
                        number: 1,
                        retry_since: None,
                        queued_at: Some(at(0)),
                        submitted_at: Some(at(2)),
                        started_at: Some(at(3)),
                        until: at(8),
                        state: "failed",
                    },
                    Bar {
                        number: 2,
                        retry_since: Some(at(8)),
                        queued_at: None,
                        submitted_at: Some(at(10)),
                        started_at: Some(at(11)),
                        until: at(20),
                        state: "running",
                    },
                ],
            }],
        };
        insta::assert_snapshot!(draw(&chart).replace("><", ">\n<"));
    }
}
