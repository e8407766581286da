//! What the format describes and nothing executes yet: read with its own shape, then refused.

use crate::reader::Fields;

pub(crate) const SLA_KEYS: [&str; 6] = [
    "finish_by",
    "start_by",
    "max_duration",
    "max_queue_wait",
    "fresh_within",
    "at_risk",
];

fn refuse(fields: &Fields<'_>, key: &str, what: &str, now: &str) {
    if let Some(entry) = fields.entry(key) {
        fields
            .value
            .not_supported(&entry.key_span, &format!("`{key}`, {what}"), now);
    }
}

pub(crate) fn sla(fields: &Fields<'_>) {
    for item in fields.section("sla").map_or_else(Vec::new, |it| it.list()) {
        let Some(entry) = item.fields(&SLA_KEYS, "write `- finish_by: \"08:00\"`") else {
            continue;
        };
        entry.get("finish_by").and_then(|it| it.time_of_day());
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

/// They are read and written down with what causes them, but nobody is told yet.
pub(crate) fn alerts(fields: &Fields<'_>) {
    refuse(
        fields,
        "alerts",
        "messages to people",
        "remove it; another flow can wait for failures: `triggers: [{ flow: …, on: failed }]`",
    );
}
