//! Server-sent events: the names of what changed, never data.

use crate::input::Query;
use crate::live::{Seen, Watch};
use crate::problem::Outcome;
use crate::routes::Routes;
use crate::state::App;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use dalsegno_engine::Topic;
use dalsegno_scheduler::RunId;
use futures_util::Stream;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.get("/api/v1/live", live)
}

/// What a stream tells about.
#[derive(Default)]
struct Filter {
    run: Option<RunId>,
    flow: Option<String>,
}

impl Filter {
    /// The lines of one message; none when nothing of it is wanted.
    fn lines(&self, topics: &[Topic]) -> Vec<String> {
        let all = self.run.is_none() && self.flow.is_none();
        let wanted_flow = |name: &str| self.flow.as_deref() == Some(name);
        let lines = topics.iter().filter_map(|topic| match topic {
            Topic::Flow(name) if all || wanted_flow(name.as_str()) => Some(format!("flow {name}")),
            Topic::Run(run, flow)
                if all || self.run == Some(*run) || wanted_flow(flow.as_str()) =>
            {
                Some(format!("run {run}"))
            }
            Topic::Events if all => Some("events".to_owned()),
            Topic::Refused if all => Some("refused".to_owned()),
            Topic::Backfill(id) if all => Some(format!("backfill {id}")),
            _ => None,
        });
        lines.collect()
    }
}

async fn live(
    State(app): State<Arc<App>>,
    query: Query,
) -> Outcome<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    query.only(&["run", "flow"])?;
    let filter = Filter {
        run: query.parse("run", "a run id, a whole number such as 42")?,
        flow: query.get("flow").map(str::to_owned),
    };
    let watch = Watch::new(&app.web);
    let events = stream::unfold((watch, filter), |(mut watch, filter)| async {
        loop {
            let event = match watch.next().await {
                Seen::Stopping => return None,
                Seen::Everything => Event::default().event("reload").data("everything"),
                Seen::Changed(topics) => match filter.lines(&topics) {
                    lines if lines.is_empty() => continue,
                    lines => Event::default().event("change").data(lines.join("\n")),
                },
            };
            return Some((Ok(event), (watch, filter)));
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_tells_only_what_was_asked_for() {
        let topics = [
            Topic::Flow("etl".into()),
            Topic::Run(RunId(7), "etl".into()),
            Topic::Run(RunId(8), "other".into()),
            Topic::Events,
        ];
        let all = Filter::default();
        let run = Filter {
            run: Some(RunId(8)),
            flow: None,
        };
        let flow = Filter {
            run: None,
            flow: Some("etl".into()),
        };
        assert_eq!(all.lines(&topics), ["flow etl", "run 7", "run 8", "events"]);
        assert_eq!(run.lines(&topics), ["run 8"]);
        assert_eq!(flow.lines(&topics), ["flow etl", "run 7"]);
    }
}
