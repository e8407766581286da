//! What brings events, as the running daemon sees it.

use crate::cli::Global;
use crate::client::Client;
use crate::output::{Finding, Health};
use serde_json::Value;
use std::fmt::Write as _;

/// Nothing where no daemon answers: that is told by itself.
pub(super) fn look(global: &Global) -> Vec<Finding> {
    let sources = Client::new(global).and_then(|it| it.get("/api/v1/sources", &[]));
    let Ok(sources) = sources else {
        return Vec::new();
    };
    let items = sources["items"].as_array();
    items.into_iter().flatten().map(finding).collect()
}

fn finding(source: &Value) -> Finding {
    let text = |name: &str| source[name].as_str().unwrap_or_default();
    let (kind, name, state) = (text("kind"), text("name"), text("state"));
    let about = match kind {
        "queue" => "queue",
        "directory" => "folder",
        "webhook" => "webhook",
        "metadata_service" => "metadata",
        _ => "lineage",
    };
    let notes: Vec<&str> = source["notes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let health = match state {
        "broken" | "denied" | "missing" | "unreachable" => Health::Fail,
        "throttled" | "held" => Health::Warn,
        _ if notes.is_empty() => Health::Ok,
        _ => Health::Warn,
    };
    let mut said = format!("{name} ({}) is {state}", text("target"));
    let counts = [
        ("refused", "could not be read"),
        ("passed_over", "were passed over"),
    ];
    for (count, words) in counts {
        if let Some(count @ 1..) = source["counts"][count].as_u64() {
            let _ = write!(said, "; {count} deliveries {words}");
        }
    }
    for part in Some(text("message"))
        .filter(|it| !it.is_empty())
        .iter()
        .chain(&notes)
    {
        said.push_str("; ");
        said.push_str(part);
    }
    let finding = Finding::new(about, health, said);
    match source["cure"].as_str() {
        Some(cure) => finding.cure(cure),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_source_in_trouble_comes_with_its_cure() {
        let found = finding(&json!({
            "kind": "queue", "name": "arrivals", "target": "https://q", "state": "missing",
            "message": "the queue does not exist", "cure": "create it", "notes": [],
        }));
        let text = "arrivals (https://q) is missing; the queue does not exist";
        let expected = Finding::new("queue", Health::Fail, text).cure("create it");
        assert_eq!(found, expected);
    }

    #[test]
    fn a_source_that_works_may_have_something_to_look_at() {
        let of = |notes: Value| {
            finding(&json!({
                "kind": "directory", "name": "shop", "target": "./data", "state": "ok", "message": "",
                "cure": null, "notes": notes, "counts": { "passed_over": 3, "refused": 0 },
            }))
        };
        assert_eq!(of(json!([])).health, Health::Ok);
        let found = of(json!(["a.csv was refused"]));
        assert_eq!(found.health, Health::Warn);
        let text = "shop (./data) is ok; 3 deliveries were passed over; a.csv was refused";
        assert_eq!(found.text, text);
    }
}
