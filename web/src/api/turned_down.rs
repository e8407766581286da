//! Events that a flow's triggers listen to, and that started nothing.

use crate::problem::Outcome;
use crate::state::App;
use dalsegno_scheduler::row::{EventRow, MatchOutcome, MatchRow};
use dalsegno_scheduler::spec::{DATASET_WRITTEN, EventSource, FlowEnd, OBJECT_CREATED};
use dalsegno_scheduler::{Flow, RUN_ENDED, Reason, cure};
use dalsegno_store::EventFilter;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many of the newest events of each type are looked through.
const EVENTS: usize = 20;

/// How many are told.
const TOLD: usize = 3;

/// The newest of them, newest first, as explanations.
pub(super) async fn newest(app: &App, flow: &Flow) -> Outcome<Vec<Value>> {
    let store = app.engine().store();
    let mut found: BTreeMap<u64, (Arc<EventRow>, MatchRow)> = BTreeMap::new();
    for filter in filters(flow) {
        let page = store.events(&filter, None, EVENTS).await?;
        for event in page.items {
            let matches = store.matches(event.seq).await?;
            let here = |it: &MatchRow| {
                it.flow == *flow.name()
                    && matches!(it.outcome, MatchOutcome::Filtered | MatchOutcome::Refused)
            };
            if let Some(it) = matches.into_iter().find(here) {
                found.insert(event.seq, (event, it));
            }
        }
    }
    let newest = found.into_values().rev().take(TOLD);
    Ok(newest.map(|(event, it)| explanation(&event, &it)).collect())
}

/// Where such events are found: an end of another flow's run is an event of that flow.
fn filters(flow: &Flow) -> Vec<EventFilter> {
    let leaves = flow.spec().triggers.iter().flat_map(|it| it.on.leaves());
    let mut sources = BTreeSet::new();
    for leaf in leaves {
        match &leaf.source {
            EventSource::Event { kind } => {
                sources.insert((None, kind.clone()));
            }
            EventSource::Object { bucket, .. } => {
                let source = format!("s3://{bucket}");
                sources.insert((Some(source), OBJECT_CREATED.to_owned()));
            }
            EventSource::Dataset { .. } => {
                sources.insert((None, DATASET_WRITTEN.to_owned()));
            }
            EventSource::After { .. } => {}
            EventSource::Flow { flow, on } => {
                let source = format!("dalsegno:flow/{flow}");
                sources.insert((Some(source), RUN_ENDED.to_owned()));
                if *on != FlowEnd::Failed {
                    sources.insert((None, format!("metaflow.{flow}.end")));
                }
            }
        }
    }
    let filter = |(source, kind)| EventFilter {
        source,
        kind: Some(kind),
        ..EventFilter::default()
    };
    sources.into_iter().map(filter).collect()
}

fn explanation(event: &EventRow, it: &MatchRow) -> Value {
    let at = crate::text::clock(event.received_at);
    let why = it.reason.as_ref().map(|it| format!(": {it}"));
    let code = it
        .reason
        .as_ref()
        .map_or_else(|| "event".to_owned(), Reason::code);
    let cure = it
        .reason
        .as_ref()
        .and_then(|reason| cure(reason, it.flow.as_str()));
    json!({
        "code": code, "subject": it.trigger,
        "text": format!(
            "event {} ({}) of {at} UTC was {}{}",
            event.seq, event.kind, it.outcome, why.unwrap_or_default()
        ),
        "reason": it.reason.as_ref().map(crate::json::row),
        "until": null, "cure": cure, "event": event.seq,
    })
}
