//! An OpenLineage event, versions 0 to 2 of the specification, and what it says of data sets that were written.

use crate::attributes::BadEvent;
use dalsegno_scheduler::spec::DATASET_WRITTEN;
use dalsegno_scheduler::{KEY_BYTES_MAX, NewEvent, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// How long the names of a job or data set may be together, in bytes: with a run's id they make an event's.
const NAME_BYTES_MAX: usize = KEY_BYTES_MAX - 64;

/// The most data sets that one run may have written.
const OUTPUTS_MAX: usize = 10_000;

/// What one OpenLineage event is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A run of some job. Of a run that is complete: one event for each data set that it wrote.
    Run(Vec<NewEvent>),
    /// What a data set is like; nothing was written.
    Dataset,
    /// What a job is like; nothing has run.
    Job,
}

/// Reads one event as OpenLineage clients send it.
///
/// Facets are looked at only where they say something that is used: `nominalTime` of the run, `outputStatistics`,
/// `version` and `lifecycleStateChange` of what was written. Whatever else there is may be there.
///
/// # Errors
/// When it is neither a run, a data set nor a job event, or a field that such an event needs is missing or of another
/// type. `attribute` names the field, such as `outputs[1].namespace`.
pub fn read(event: &Value) -> Result<Told, BadEvent> {
    let Some(map) = event.as_object() else {
        return Err(BadEvent {
            index: None,
            attribute: None,
            message: "an OpenLineage event is a JSON object; send lists to /api/v1/lineage/batch"
                .into(),
        });
    };
    let event = Part {
        at: String::new(),
        map,
    };
    let time = event.instant("eventTime")?;
    let time = time.ok_or_else(|| event.missing("eventTime", "when it happened"))?;
    event.optional_text("producer")?;
    event.optional_text("schemaURL")?;
    if map.get("run").is_some_and(|it| !it.is_null()) {
        return run(&event, time).map(Told::Run);
    }
    if map.contains_key("eventType") {
        return Err(event.missing("run", "an object with `runId`"));
    }
    if map.contains_key("dataset") {
        name(&event.needed("dataset")?)?;
        return Ok(Told::Dataset);
    }
    if map.contains_key("job") {
        name(&event.needed("job")?)?;
        return Ok(Told::Job);
    }
    Err(event.missing(
        "run",
        "an object with `runId` (an event without a run has a `dataset` or a `job`)",
    ))
}

fn run(event: &Part<'_>, time: Timestamp) -> Result<Vec<NewEvent>, BadEvent> {
    let run = event.needed("run")?;
    let id = run.text("runId")?;
    if uuid::Uuid::try_parse(id).is_err() {
        let message = format!("is `{id}`, and a UUID is expected");
        return Err(run.bad("runId", message));
    }
    let job = name(&event.needed("job")?)?;
    let is_complete = match event.optional_text("eventType")? {
        Some("COMPLETE") => true,
        Some("START" | "RUNNING" | "ABORT" | "FAIL" | "OTHER") | None => false,
        Some(other) => {
            let message = format!(
                "is `{other}`, and START, RUNNING, COMPLETE, ABORT, FAIL or OTHER is expected"
            );
            return Err(event.bad("eventType", message));
        }
    };
    event.list("inputs")?;
    let interval = interval(&run)?;
    let outputs = event.list("outputs")?;
    if outputs.len() > OUTPUTS_MAX {
        let message = format!(
            "lists {} data sets, and at most {OUTPUTS_MAX} are taken",
            outputs.len()
        );
        return Err(event.bad("outputs", message));
    }
    let source = format!("openlineage:{}/{}", uri_part(job.0), uri_part(job.1));
    let mut events = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, output) in outputs.iter().enumerate() {
        let at = format!("outputs[{place}]");
        let Some(map) = output.as_object() else {
            return Err(event.bad(&at, format!("is {output}, and an object is expected")));
        };
        let output = Part { at, map };
        let (namespace, name) = name(&output)?;
        let facets = facets(&output)?;
        let is_dropped = facets.get("lifecycleStateChange") == Some(&json!("DROP"));
        if !is_complete || is_dropped || !seen.insert((namespace, name)) {
            continue;
        }
        let mut data = json!({
            "namespace": namespace,
            "name": name,
            "job": {"namespace": job.0, "name": job.1},
            "run": {"id": id},
        });
        if let Some((start, end)) = interval {
            data["interval"] = json!({"start": start.to_string(), "end": end.to_string()});
        }
        if !facets.is_empty() {
            data["facets"] = facets.into();
        }
        let subject = format!("{namespace}/{name}");
        events.push(NewEvent {
            source: source.clone(),
            // With its length: namespaces and names may both hold a slash.
            id: format!("{id}:{}:{subject}", namespace.len()),
            kind: DATASET_WRITTEN.into(),
            subject: Some(subject),
            time: Some(time),
            data,
        });
    }
    Ok(events)
}

/// `namespace` and `name` of a job or a data set.
fn name<'a>(part: &Part<'a>) -> Result<(&'a str, &'a str), BadEvent> {
    let (namespace, name) = (part.text("namespace")?, part.text("name")?);
    if namespace.len() + name.len() > NAME_BYTES_MAX {
        let message = format!("and `namespace` are together longer than {NAME_BYTES_MAX} bytes");
        return Err(part.bad("name", message));
    }
    Ok((namespace, name))
}

/// The nominal time of a run: the data interval that it is about. A run that names no end has an empty interval.
fn interval(run: &Part<'_>) -> Result<Option<(Timestamp, Timestamp)>, BadEvent> {
    let Some(facets) = run.optional("facets")? else {
        return Ok(None);
    };
    let Some(nominal) = facets.optional("nominalTime")? else {
        return Ok(None);
    };
    let Some(start) = nominal.instant("nominalStartTime")? else {
        return Ok(None);
    };
    let end = nominal.instant("nominalEndTime")?.unwrap_or(start);
    if end < start {
        let message = format!("is {end}, before `nominalStartTime` ({start})");
        return Err(nominal.bad("nominalEndTime", message));
    }
    Ok(Some((start, end)))
}

/// What is kept of the facets of a data set that was written: numbers, a version, what happened to it.
fn facets(output: &Part<'_>) -> Result<Map<String, Value>, BadEvent> {
    let mut kept = Map::new();
    let of = |group: &str, facet: &str| -> Result<Option<&Map<String, Value>>, BadEvent> {
        let facets = match output.map.get(group) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(facets)) => facets,
            Some(other) => {
                return Err(output.bad(
                    group,
                    format!("is {}, and an object is expected", kind(other)),
                ));
            }
        };
        match facets.get(facet) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(facet)) => Ok(Some(facet)),
            Some(other) => {
                let message = format!("is {}, and an object is expected", kind(other));
                Err(output.bad(&format!("{group}.{facet}"), message))
            }
        }
    };
    if let Some(statistics) = of("outputFacets", "outputStatistics")? {
        let numbers = ["rowCount", "size", "fileCount"]
            .into_iter()
            .filter_map(|it| {
                let number = statistics.get(it).filter(|value| value.is_number())?;
                Some((it.to_owned(), number.clone()))
            });
        let numbers: Map<String, Value> = numbers.collect();
        kept.insert("outputStatistics".into(), numbers.into());
    }
    for (facet, field) in [
        ("version", "datasetVersion"),
        ("lifecycleStateChange", "lifecycleStateChange"),
    ] {
        let text = of("facets", facet)?.and_then(|it| it.get(field)?.as_str());
        let text = text.filter(|it| it.len() <= NAME_BYTES_MAX);
        kept.extend(text.map(|it| (facet.to_owned(), json!(it))));
    }
    Ok(kept)
}

/// What is white space or a control character in a name, as a URI has it.
fn uri_part(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut bytes = [0; 4];
    for letter in name.chars() {
        if letter.is_whitespace() || letter.is_control() {
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                text += &format!("%{byte:02X}");
            }
        } else {
            text.push(letter);
        }
    }
    text
}

/// A part of an event, and where it stands.
struct Part<'a> {
    at: String,
    map: &'a Map<String, Value>,
}

impl<'a> Part<'a> {
    fn bad(&self, field: &str, message: impl Into<String>) -> BadEvent {
        BadEvent::of(&self.path(field), message)
    }

    fn path(&self, field: &str) -> String {
        match self.at.as_str() {
            "" => field.to_owned(),
            at => format!("{at}.{field}"),
        }
    }

    fn missing(&self, field: &str, what: &str) -> BadEvent {
        self.bad(field, format!("is missing; it must be {what}"))
    }

    /// JSON null counts as left out.
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|it| !it.is_null())
    }

    fn optional(&self, field: &str) -> Result<Option<Self>, BadEvent> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                at: self.path(field),
                map,
            })),
            Some(other) => {
                let message = format!("is {}, and an object is expected", kind(other));
                Err(self.bad(field, message))
            }
        }
    }

    fn needed(&self, field: &str) -> Result<Self, BadEvent> {
        let missing = || self.missing(field, "an object");
        self.optional(field)?.ok_or_else(missing)
    }

    fn list(&self, field: &str) -> Result<&'a [Value], BadEvent> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => {
                let message = format!("is {}, and a list is expected", kind(other));
                Err(self.bad(field, message))
            }
        }
    }

    fn optional_text(&self, field: &str) -> Result<Option<&'a str>, BadEvent> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                let message = format!("is {}, and a string is expected", kind(other));
                Err(self.bad(field, message))
            }
        }
    }

    fn text(&self, field: &str) -> Result<&'a str, BadEvent> {
        match self.optional_text(field)? {
            None => Err(self.missing(field, "a string")),
            Some(text) if text.trim().is_empty() => Err(self.bad(field, "is empty")),
            Some(text) if text.contains(char::is_control) => {
                Err(self.bad(field, "holds a control character"))
            }
            Some(text) => Ok(text),
        }
    }

    /// An instant; one without an offset is taken as UTC, as the official clients let it pass.
    fn instant(&self, field: &str) -> Result<Option<Timestamp>, BadEvent> {
        let Some(text) = self.optional_text(field)? else {
            return Ok(None);
        };
        let parsed = Timestamp::parse_rfc3339(text)
            .or_else(|| Timestamp::parse_rfc3339(&format!("{text}Z")));
        let bad = || {
            let message =
                format!("is `{text}`, and an instant such as 2026-11-22T06:00:00Z is expected");
            self.bad(field, message)
        };
        parsed.map(Some).ok_or_else(bad)
    }
}

/// What a value is, without all that is in it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Value {
        json!({
            "eventType": "COMPLETE",
            "eventTime": "2026-11-22T06:00:00.123456+01:00",
            "producer": "https://example.com/airflow",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {
                "runId": "0199f000-0000-7000-8000-000000000001",
                "facets": {"nominalTime": {
                    "_producer": "https://example.com", "_schemaURL": "https://example.com",
                    "nominalStartTime": "2026-11-21T00:00:00Z",
                    "nominalEndTime": "2026-11-22T00:00:00Z",
                }},
            },
            "job": {"namespace": "air flow", "name": "orders.load"},
            "inputs": [{"namespace": "s3://raw", "name": "orders"}],
            "outputs": [{
                "namespace": "postgres://db:5432", "name": "shop.public.orders",
                "facets": {"version": {"datasetVersion": "7"}, "schema": {"fields": []}},
                "outputFacets": {"outputStatistics": {"rowCount": 12, "size": 4096, "_producer": "x"}},
            }],
        })
    }

    fn events(event: &Value) -> Vec<NewEvent> {
        match read(event) {
            Ok(Told::Run(events)) => events,
            other => panic!("not a run event: {other:?}"),
        }
    }

    #[test]
    fn a_complete_run_tells_what_it_wrote() {
        let events = events(&complete());
        let [event] = &events[..] else {
            panic!("one data set: {events:?}")
        };
        assert_eq!(event.kind, "dataset.written");
        assert_eq!(event.source, "openlineage:air%20flow/orders.load");
        assert_eq!(
            event.id,
            "0199f000-0000-7000-8000-000000000001:18:postgres://db:5432/shop.public.orders"
        );
        assert_eq!(
            event.subject.as_deref(),
            Some("postgres://db:5432/shop.public.orders")
        );
        assert_eq!(
            event.time,
            Timestamp::parse_rfc3339("2026-11-22T05:00:00.123456Z")
        );
        assert_eq!(
            event.data,
            json!({
                "namespace": "postgres://db:5432",
                "name": "shop.public.orders",
                "job": {"namespace": "air flow", "name": "orders.load"},
                "run": {"id": "0199f000-0000-7000-8000-000000000001"},
                "interval": {"start": "2026-11-21T00:00:00Z", "end": "2026-11-22T00:00:00Z"},
                "facets": {"outputStatistics": {"rowCount": 12, "size": 4096}, "version": "7"},
            })
        );
    }

    #[test]
    fn only_a_complete_run_has_written_anything() {
        for kind in ["START", "RUNNING", "ABORT", "FAIL", "OTHER"] {
            let mut event = complete();
            event["eventType"] = json!(kind);
            assert_eq!(events(&event), [], "{kind}");
        }
        let mut event = complete();
        event["outputs"] = json!([]);
        assert_eq!(events(&event), []);
        event["outputs"] = Value::Null;
        assert_eq!(events(&event), []);
    }

    #[test]
    fn a_data_set_that_was_dropped_was_not_written_and_one_that_is_named_twice_was_written_once() {
        let mut event = complete();
        event["outputs"][0]["facets"]["lifecycleStateChange"] =
            json!({"lifecycleStateChange": "DROP"});
        assert_eq!(events(&event), []);
        let mut event = complete();
        let output = event["outputs"][0].clone();
        event["outputs"] = json!([output, output]);
        assert_eq!(events(&event).len(), 1);
    }

    #[test]
    fn a_run_without_nominal_time_has_no_interval_and_one_without_its_end_an_empty_one() {
        let mut event = complete();
        event["run"]["facets"] = json!({});
        assert_eq!(events(&event)[0].data.get("interval"), None);
        event["run"]["facets"] =
            json!({"nominalTime": {"nominalStartTime": "2026-11-21T00:00:00"}});
        assert_eq!(
            events(&event)[0].data["interval"],
            json!({"start": "2026-11-21T00:00:00Z", "end": "2026-11-21T00:00:00Z"}),
            "and without an offset it is UTC"
        );
    }

    #[test]
    fn older_run_events_and_events_of_data_sets_and_jobs_are_understood() {
        let mut old = complete();
        let map = old.as_object_mut().expect("an object");
        map.remove("schemaURL");
        assert_eq!(events(&old).len(), 1, "version 0 had no schemaURL");
        let dataset = json!({
            "eventTime": "2026-11-22T06:00:00Z", "producer": "https://example.com",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/DatasetEvent",
            "dataset": {"namespace": "s3://raw", "name": "orders", "facets": {}},
        });
        assert_eq!(read(&dataset), Ok(Told::Dataset));
        let job = json!({
            "eventTime": "2026-11-22T06:00:00Z", "producer": "https://example.com",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/JobEvent",
            "job": {"namespace": "dbt", "name": "orders"}, "inputs": [], "outputs": [],
        });
        assert_eq!(read(&job), Ok(Told::Job));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |pointer: &str, value: Value| {
            let mut event = complete();
            *event.pointer_mut(pointer).expect("a place") = value;
            event
        };
        let cases = [
            (json!([]), "an OpenLineage event is a JSON object"),
            (json!({}), "`eventTime` is missing"),
            (
                json!({"eventTime": "2026-11-22T06:00:00Z"}),
                "`run` is missing",
            ),
            (with("/run", Value::Null), "`run` is missing"),
            (with("/eventTime", json!("now")), "`eventTime` is `now`"),
            (with("/eventTime", json!(7)), "`eventTime` is a number"),
            (with("/eventType", json!("DONE")), "`eventType` is `DONE`"),
            (with("/run", json!({})), "`run.runId` is missing"),
            (
                with("/run/runId", json!("7")),
                "`run.runId` is `7`, and a UUID",
            ),
            (with("/job", json!("x")), "`job` is a string"),
            (with("/job/name", json!("")), "`job.name` is empty"),
            (
                with("/job/name", json!("a\nb")),
                "`job.name` holds a control",
            ),
            (with("/outputs", json!({})), "`outputs` is an object"),
            (with("/outputs/0", json!("x")), "`outputs[0]` is"),
            (
                with("/outputs/0/namespace", Value::Null),
                "`outputs[0].namespace` is missing",
            ),
            (
                with("/outputs/0/name", json!("n".repeat(5_000))),
                "`outputs[0].name` and `namespace` are together longer",
            ),
            (
                with("/outputs/0/facets", json!(7)),
                "`outputs[0].facets` is a number",
            ),
            (
                with("/run/facets/nominalTime/nominalStartTime", json!("x")),
                "`run.facets.nominalTime.nominalStartTime` is `x`",
            ),
            (
                with(
                    "/run/facets/nominalTime/nominalEndTime",
                    json!("2020-01-01T00:00:00Z"),
                ),
                "`run.facets.nominalTime.nominalEndTime` is 2020-01-01T00:00:00Z, before",
            ),
        ];
        for (event, expected) in cases {
            let error = read(&event).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error} is not {expected}");
        }
    }
}
