//! What the format describes and nothing executes yet: read with its own shape, then refused.

use crate::reader::{Fields, Value};
use crate::yaml::Data;

pub(crate) const DATASET_KEYS: [&str; 2] = ["namespace", "name"];
pub(crate) const BATCH_KEYS: [&str; 2] = ["max", "window"];
pub(crate) const CONSUME_KEYS: [&str; 1] = ["batch"];
pub(crate) const DEBOUNCE_KEYS: [&str; 2] = ["quiet", "max_wait"];
pub(crate) const DEADLINE_KEYS: [&str; 2] = ["at", "do"];
pub(crate) const OOM_KEYS: [&str; 2] = ["memory", "max"];
pub(crate) const SLA_KEYS: [&str; 6] = [
    "finish_by",
    "start_by",
    "max_duration",
    "max_queue_wait",
    "fresh_within",
    "at_risk",
];
pub(crate) const ALERT_KEYS: [&str; 3] = ["on", "to", "hold"];
const EXECUTORS: [(&str, bool); 3] = [("local", true), ("batch", false), ("step_functions", false)];

fn refuse(fields: &Fields<'_>, key: &str, what: &str, now: &str) {
    if let Some(entry) = fields.entry(key) {
        fields
            .value
            .not_supported(&entry.key_span, &format!("`{key}`, {what}"), now);
    }
}

/// Keys of a trigger that wait for their time; `consume: each` is what happens anyway.
pub(crate) fn trigger(fields: &Fields<'_>) {
    if let Some(consume) = fields.get("consume") {
        let now = "write `consume: each`, or leave it out: each event starts a run";
        if let Data::Map(_) = consume.node.data {
            let help = "write `consume: { batch: { max: 100, window: 5m } }`";
            if let Some(batch) = consume
                .fields(&CONSUME_KEYS, help)
                .and_then(|it| it.required("batch", help))
                && let Some(batch) = batch.fields(&BATCH_KEYS, help)
            {
                batch.get("max").and_then(|it| it.integer(1..=100_000));
                batch.get("window").and_then(|it| it.duration());
            }
            consume.not_supported(
                consume.span(),
                "`consume: batch`, many events in one run",
                now,
            );
        } else if consume.one_of(&[("each", true), ("latest", false)]) == Some(false) {
            consume.not_supported(consume.span(), "`consume: latest`", now);
        }
    }
    if let Some(debounce) = fields
        .get("debounce")
        .and_then(|it| it.fields(&DEBOUNCE_KEYS, "write `{ quiet: 60s, max_wait: 10m }`"))
    {
        debounce.get("quiet").and_then(|it| it.duration());
        debounce.get("max_wait").and_then(|it| it.duration());
    }
    refuse(
        fields,
        "debounce",
        "waiting until events grow quiet",
        "remove it; `run: { strategy: serial_latest_only }` keeps only the newest waiting run",
    );
    if let Some(deadline) = fields
        .get("on_deadline")
        .and_then(|it| it.fields(&DEADLINE_KEYS, "write `{ at: \"09:00\", do: alert }`"))
    {
        deadline
            .required("at", "write a time of day such as `at: \"09:00\"`")
            .map(clock);
        deadline
            .get("do")
            .map(|it| it.one_of(&[("run", ()), ("skip", ()), ("alert", ())]));
    }
    refuse(
        fields,
        "on_deadline",
        "what happens when events do not come in time",
        "remove it; a half-matched set expires after `within`",
    );
}

/// Sources of events that wait for their time.
pub(crate) fn leaf(fields: &Fields<'_>) {
    let now =
        "use `flow: NAME` for upstream flows, or `event: TYPE` and send a CloudEvent over HTTP";
    if let Some(s3) = fields
        .get("s3")
        .and_then(|it| it.text().map(|text| (it, text)))
        && !s3.1.starts_with("s3://")
    {
        s3.0.cx.push(
            s3.0.bad("`s3` must begin with `s3://`")
                .help("write `s3: s3://BUCKET/KEY`"),
        );
    }
    refuse(fields, "s3", "the arrival of an object", now);
    if let Some(it) = fields
        .get("dataset")
        .and_then(|it| it.fields(&DATASET_KEYS, "write `{ namespace: NAME, name: NAME }`"))
    {
        for key in DATASET_KEYS {
            it.required(key, "a data set has a namespace and a name")
                .and_then(|it| it.text());
        }
    }
    refuse(fields, "dataset", "a data set that was written", now);
    if let Some(after) = fields.get("after") {
        clock(after);
    }
    refuse(
        fields,
        "after",
        "a time of day in a trigger",
        "use `schedule` for times, and `flow` or `event` for data",
    );
}

/// `executor`: only `local` runs.
pub(crate) fn executor(fields: &Fields<'_>) {
    if let Some(value) = fields.get("executor")
        && value.one_of(&EXECUTORS) == Some(false)
    {
        let name = value.node.text().unwrap_or_default();
        let now =
            "write `executor: local`, or leave it out: steps run as processes on this machine";
        value.not_supported(value.span(), &format!("`executor: {name}`"), now);
    }
}

/// Keys of a step that wait for their time.
pub(crate) fn step(fields: &Fields<'_>) {
    executor(fields);
    if let Some(image) = fields.get("image") {
        image.text();
    }
    refuse(
        fields,
        "image",
        "a container image",
        "remove it: steps run as processes on this machine",
    );
    if let Some(oom) = fields
        .get("on_oom")
        .and_then(|it| it.fields(&OOM_KEYS, "write `{ memory: x2, max: 120GiB }`"))
    {
        oom.get("memory").and_then(|it| it.text());
        oom.get("max").and_then(|it| it.size());
    }
    refuse(
        fields,
        "on_oom",
        "more memory for the next attempt",
        "raise `resources.memory`, and use `retry`",
    );
}

/// A step that runs another flow.
pub(crate) fn sub_flow(fields: &Fields<'_>) {
    if let Some(flow) = fields.get("flow") {
        flow.text();
    }
    if let Some(params) = fields.section("params") {
        params.entries("write `name: value`, one for each parameter");
    }
    if let Some(wait) = fields.get("wait") {
        wait.boolean();
    }
    refuse(
        fields,
        "flow",
        "a step that runs another flow",
        "let the other flow start by `triggers: [{ flow: … }]` when this one has succeeded",
    );
}

/// `resources.cpu` and `resources.gpu`.
pub(crate) fn resources(fields: &Fields<'_>) {
    for key in ["cpu", "gpu"] {
        fields.get(key).and_then(|it| it.number());
        refuse(
            fields,
            key,
            "reserved for one task",
            "use `pools` to bound how many tasks run at once; `memory` works",
        );
    }
}

pub(crate) fn sla(fields: &Fields<'_>) {
    for item in fields.section("sla").map_or_else(Vec::new, |it| it.list()) {
        let Some(entry) = item.fields(&SLA_KEYS, "write `- finish_by: \"08:00\"`") else {
            continue;
        };
        entry.get("finish_by").map(clock);
        for key in ["start_by", "max_duration", "max_queue_wait", "fresh_within"] {
            entry.get(key).and_then(|it| it.duration());
        }
        entry.get("at_risk").and_then(|it| it.number());
    }
    refuse(
        fields,
        "sla",
        "promises about time",
        "remove it; `timeout` bounds how long runs and attempts take",
    );
}

pub(crate) fn alerts(fields: &Fields<'_>) {
    for item in fields
        .section("alerts")
        .map_or_else(Vec::new, |it| it.list())
    {
        let Some(entry) = item.fields(
            &ALERT_KEYS,
            "write `- { on: [run.failed], to: webhook:NAME }`",
        ) else {
            continue;
        };
        for on in entry.get("on").map_or_else(Vec::new, |it| it.one_or_list()) {
            on.text();
        }
        entry.get("to").and_then(|it| it.text());
        entry.get("hold").and_then(|it| it.duration());
    }
    refuse(
        fields,
        "alerts",
        "messages to people",
        "remove it; another flow can wait for failures: `triggers: [{ flow: …, on: failed }]`",
    );
}

/// A time of day.
fn clock(value: Value<'_>) {
    let good = value
        .node
        .text()
        .and_then(|it| it.split_once(':'))
        .is_some_and(|(hour, minute)| {
            hour.parse::<u8>().is_ok_and(|it| it < 24)
                && minute.len() == 2
                && minute.parse::<u8>().is_ok_and(|it| it < 60)
        });
    if !good {
        value.wrong("a time of day", "write it in quotes, as in \"06:00\"");
    }
}
