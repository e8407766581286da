//! Our own runs as OpenLineage run events.

use dalsegno_scheduler::row::{RunRow, RunState};
use dalsegno_scheduler::spec::{DATASET_WRITTEN, OBJECT_CREATED};
use dalsegno_scheduler::{FlowName, RunId, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The specification that the events follow.
const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// Who says so. Clients want a URI with a scheme and an authority.
const PRODUCER: &str = concat!("dalsegno://scheduler/", env!("CARGO_PKG_VERSION"));

/// What a run event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Start,
    Complete,
    Fail,
    Abort,
}

impl Transition {
    /// What a run that is in this state has come to; `None`: nothing that OpenLineage has a word for.
    pub(super) const fn of(state: RunState) -> Option<Self> {
        match state {
            RunState::Running => Some(Self::Start),
            RunState::Succeeded => Some(Self::Complete),
            RunState::Failed | RunState::TimedOut => Some(Self::Fail),
            RunState::Cancelled => Some(Self::Abort),
            RunState::Queued | RunState::Cancelling => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
            Self::Abort => "ABORT",
        }
    }
}

/// One going of a run, under the name that OpenLineage has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: Uuid,
    pub(super) flow: FlowName,
    pub(super) generation: u32,
}

impl Named {
    /// Always the same for the same run and generation: a resumed run is another one to OpenLineage. As its clients do,
    /// the time comes first and a hash fills the rest.
    pub(super) fn new(namespace: &str, row: &RunRow) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"dalsegno openlineage run v1\0");
        for part in [
            namespace,
            row.flow.as_str(),
            &row.id.to_string(),
            &row.created_at.0.to_string(),
            &row.generation.to_string(),
        ] {
            hash.update(part.as_bytes());
            hash.update(b"\0");
        }
        let hash = hash.finalize();
        let mut filling = [0; 10];
        filling.copy_from_slice(&hash[..10]);
        let millis = u64::try_from(row.created_at.0 / 1_000).unwrap_or(0);
        Self {
            id: uuid::Builder::from_unix_timestamp_millis(millis, &filling).into_uuid(),
            flow: row.flow.clone(),
            generation: row.generation,
        }
    }
}

/// A run event of OpenLineage 2.
pub(super) fn run_event(
    namespace: &str,
    transition: Transition,
    at: Timestamp,
    row: &RunRow,
    parent: Option<&Named>,
) -> Value {
    let named = Named::new(namespace, row);
    let mut facets = Map::new();
    let mut add = |name: &str, version: &str, kind: &str, fields: Value| {
        facets.insert(name.to_owned(), facet(version, kind, fields));
    };
    if row.interval.start != row.interval.end {
        let fields = json!({
            "nominalStartTime": row.interval.start.to_string(),
            "nominalEndTime": row.interval.end.to_string(),
        });
        add("nominalTime", "1-0-1", "NominalTimeRunFacet", fields);
    }
    if let Some(parent) = parent {
        let fields = json!({
            "run": {"runId": parent.id.to_string()},
            "job": {"namespace": namespace, "name": parent.flow},
        });
        add("parent", "1-0-1", "ParentRunFacet", fields);
    }
    if transition == Transition::Fail {
        let reason = row.reason.as_ref().map(ToString::to_string);
        let fields = json!({
            "message": reason.unwrap_or_else(|| format!("the run is {}", row.state)),
            // Whatever its steps are written in.
            "programmingLanguage": "unknown",
        });
        add("errorMessage", "1-0-1", "ErrorMessageRunFacet", fields);
    }
    let engine = json!({"name": "Dalsegno", "version": env!("CARGO_PKG_VERSION")});
    add(
        "processing_engine",
        "1-1-1",
        "ProcessingEngineRunFacet",
        engine,
    );
    let tag = |key: &str, value: String| json!({"key": key, "value": value, "source": "DALSEGNO"});
    let tags = json!({ "tags": [
        tag("run", row.id.to_string()),
        tag("generation", row.generation.to_string()),
        tag("trigger", row.trigger.to_string()),
    ]});
    add("tags", "1-0-0", "TagsRunFacet", tags);
    let job_type = json!({"processingType": "BATCH", "integration": "DALSEGNO", "jobType": "FLOW"});
    json!({
        "eventType": transition.as_str(),
        "eventTime": at.to_string(),
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": {"runId": named.id.to_string(), "facets": facets},
        "job": {
            "namespace": namespace,
            "name": row.flow,
            "facets": {"jobType": facet("2-0-3", "JobTypeJobFacet", job_type)},
        },
        "inputs": inputs(row),
        "outputs": [],
    })
}

fn facet(version: &str, kind: &str, mut fields: Value) -> Value {
    fields["_producer"] = PRODUCER.into();
    let schema = format!("https://openlineage.io/spec/facets/{version}/{kind}.json#/$defs/{kind}");
    fields["_schemaURL"] = schema.into();
    fields
}

/// The data sets and objects whose writing started the run.
fn inputs(row: &RunRow) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let about = row.event_data.iter().filter_map(|event| {
        let data = &event["data"];
        let text = |it: &Value| it.as_str().map(str::to_owned);
        match event["type"].as_str()? {
            DATASET_WRITTEN => Some((text(&data["namespace"])?, text(&data["name"])?)),
            // As OpenLineage names objects.
            OBJECT_CREATED => Some((text(&event["source"])?, text(&event["subject"])?)),
            _ => None,
        }
    });
    about
        .filter(|it| seen.insert(it.clone()))
        .map(|(namespace, name)| json!({"namespace": namespace, "name": name}))
        .collect()
}

/// The run that a sub-flow's run was made for.
pub(super) fn parent_of(row: &RunRow) -> Option<RunId> {
    row.parent.as_ref().map(|it| it.attempt.run)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn run(id: u64, state: RunState) -> RunRow {
        serde_json::from_value(json!({
            "id": id, "flow": "orders", "version": "v1", "state": state, "generation": 1,
            "params": {}, "occurrence": "cron:daily:1", "trigger": "daily",
            "interval": {
                "start": Timestamp::parse_rfc3339("2026-11-21T00:00:00Z"),
                "end": Timestamp::parse_rfc3339("2026-11-22T00:00:00Z"),
            },
            "priority": 0, "events": [],
            "queued_at": Timestamp::from_secs(1_795_305_600),
            "created_at": Timestamp::from_secs(1_795_305_600),
        }))
        .expect("a run")
    }

    /// Fields that the specification's own schema demands, and the forms of those that have one.
    pub(in super::super) fn is_valid(event: &Value) {
        let text = |pointer: &str| {
            let value = event.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_else(|| panic!("no text at {pointer}: {event}"))
        };
        let instant = |it: &str| assert!(Timestamp::parse_rfc3339(it).is_some(), "{it}");
        let uri = |it: &str| {
            let uri: axum::http::Uri = it.parse().expect(it);
            assert!(uri.scheme().is_some() && uri.authority().is_some(), "{it}");
        };
        instant(text("/eventTime"));
        uri(text("/producer"));
        uri(text("/schemaURL"));
        assert!(["START", "COMPLETE", "ABORT", "FAIL"].contains(&text("/eventType")));
        Uuid::parse_str(text("/run/runId")).expect("a UUID");
        assert!(!text("/job/namespace").is_empty() && !text("/job/name").is_empty());
        for facets in ["/run/facets", "/job/facets"] {
            let facets = event.pointer(facets).and_then(Value::as_object);
            for (name, facet) in facets.expect("facets") {
                for field in ["_producer", "_schemaURL"] {
                    uri(facet[field].as_str().expect(name));
                }
            }
        }
        for sets in ["inputs", "outputs"] {
            for set in event[sets].as_array().expect("a list") {
                assert!(
                    set["namespace"].is_string() && set["name"].is_string(),
                    "{set}"
                );
            }
        }
        // What we give out we take in.
        super::super::read(event).expect("an event");
    }

    #[test]
    fn a_run_has_one_name_for_ever_and_another_when_it_is_resumed() {
        let row = run(7, RunState::Running);
        let name = |namespace: &str, row: &RunRow| Named::new(namespace, row).id;
        assert_eq!(
            name("dalsegno", &row).to_string(),
            "01a2008d-7400-7362-b064-8e47627da05b"
        );
        let resumed = RunRow {
            generation: 2,
            ..row.clone()
        };
        let other = RunRow {
            id: RunId(8),
            ..row.clone()
        };
        let all = BTreeSet::from([
            name("dalsegno", &row),
            name("elsewhere", &row),
            name("dalsegno", &resumed),
            name("dalsegno", &other),
        ]);
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn the_events_of_a_run_are_as_the_specification_wants_them() {
        for state in RunState::ALL {
            let Some(transition) = Transition::of(*state) else {
                continue;
            };
            let row = run(7, *state);
            let at = Timestamp::from_secs(1_795_305_700);
            let parent = Named::new("dalsegno", &run(6, RunState::Running));
            is_valid(&run_event("dalsegno", transition, at, &row, Some(&parent)));
        }
    }

    #[test]
    fn a_failure_tells_why_a_sub_flow_whose_it_is_and_a_run_what_it_read() {
        let mut row = run(7, RunState::TimedOut);
        let at = Timestamp::from_secs(1_795_305_700);
        let event = |kind: &str, data: Value| json!({"type": kind, "source": "s3://raw", "subject": "a/b.csv", "data": data});
        let written = event(
            DATASET_WRITTEN,
            json!({"namespace": "pg", "name": "orders"}),
        );
        row.event_data = std::sync::Arc::new(vec![
            written.clone(),
            written,
            event(OBJECT_CREATED, json!({})),
            event("orders.ready", json!({})),
        ]);
        let parent = Named::new("dalsegno", &run(6, RunState::Running));
        let event = run_event("dalsegno", Transition::Fail, at, &row, Some(&parent));
        let facets = &event["run"]["facets"];
        assert_eq!(facets["errorMessage"]["message"], "the run is timed_out");
        assert_eq!(facets["parent"]["run"]["runId"], parent.id.to_string());
        assert_eq!(
            facets["nominalTime"]["nominalEndTime"],
            "2026-11-22T00:00:00Z"
        );
        assert_eq!(
            event["inputs"],
            json!([
                {"namespace": "pg", "name": "orders"},
                {"namespace": "s3://raw", "name": "a/b.csv"},
            ])
        );
    }
}
