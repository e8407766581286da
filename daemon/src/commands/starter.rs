//! What started runs of Metaflow flows: their triggers have names that say nothing.

use crate::client::{Client, Event, Flow, Run, path};
use std::collections::BTreeMap;

/// Events that are looked up for one list.
const EVENTS_MAX: usize = 200;

/// Adds in words what started each run. Where that is not known any more the trigger's name stays.
pub(super) fn tell(client: &Client, runs: &mut [Run]) {
    let mut flows: BTreeMap<String, Option<Flow>> = BTreeMap::new();
    let mut events: BTreeMap<u64, Option<Event>> = BTreeMap::new();
    for run in runs.iter_mut().filter(|it| it.metaflow.is_some()) {
        run.by = match run.trigger.as_str() {
            "schedule" => {
                let flow = flows
                    .entry(run.flow.clone())
                    .or_insert_with(|| client.get_as(&path(&["flows", &run.flow])).ok());
                let schedules = flow.iter().flat_map(|it| &it.schedules);
                let mut own = schedules.filter(|it| it.name == run.trigger);
                own.next().map(|it| it.text.clone())
            }
            "trigger" | "trigger_on_finish" if !run.events.is_empty() => {
                for seq in &run.events {
                    if events.len() < EVENTS_MAX && !events.contains_key(seq) {
                        let event = client.get_as(&path(&["events", &seq.to_string()]));
                        events.insert(*seq, event.ok());
                    }
                }
                let found = run.events.iter().map(|it| events.get(it)?.as_ref());
                found.collect::<Option<Vec<&Event>>>().map(|it| words(&it))
            }
            _ => None,
        };
    }
}

/// `when etl (run 48) has succeeded`, `on ticket.opened #89 and agent.free #90`.
fn words(events: &[&Event]) -> String {
    let ends = events.iter().map(|it| ended(it));
    let any_run = ends.clone().any(|it| it.is_some());
    let texts = ends.zip(events).map(|(end, event)| {
        end.unwrap_or_else(|| {
            let (kind, seq) = (&event.kind, event.seq);
            match any_run {
                true => format!("event {kind} #{seq}"),
                false => format!("{kind} #{seq}"),
            }
        })
    });
    let word = if any_run { "when" } else { "on" };
    format!("{word} {}", texts.collect::<Vec<_>>().join(" and "))
}

/// The end of a run, where an event tells it.
fn ended(event: &Event) -> Option<String> {
    if event.kind != dalsegno_scheduler::RUN_ENDED {
        return None;
    }
    let part = |name: &str| event.data[name].as_str();
    let (flow, run) = (part("flow")?, part("run")?);
    Some(match part("state")? {
        "cancelled" => format!("{flow} (run {run}) was cancelled"),
        state => format!("{flow} (run {run}) has {}", state.replace('_', " ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{answer, server};
    use crate::client::typed;
    use serde_json::json;

    #[test]
    fn events_say_more_than_the_names_of_triggers() {
        let event = |seq: u64, kind: &str, data: serde_json::Value| {
            let event = json!({"seq": seq, "type": kind, "source": "/", "id": "1",
                "received_at": "2026-11-22T06:00:00Z", "data": data});
            answer("200 OK", &event.to_string())
        };
        let (client, server) = server(vec![
            event(
                4,
                "dalsegno.run.ended",
                json!({"flow": "Ingest", "run": "48", "state": "succeeded"}),
            ),
            event(89, "ticket.opened", json!({})),
            event(90, "agent.free", json!({})),
            answer("404 Not Found", r#"{"code":"unknown_event"}"#),
        ]);
        let run = |trigger: &str, events: &[u64]| -> Run {
            let run = json!({"id": "7", "flow": "F", "state": "failed", "created_at": "2026-11-22T06:00:00Z",
                "trigger": trigger, "events": events, "metaflow": {"pathspec": "F/dalsegno-7-x"}});
            typed(run).expect("a run")
        };
        let mut runs = [
            run("trigger_on_finish", &[4]),
            run("trigger", &[89, 90]),
            run("trigger", &[5]),
            run("manual", &[]),
        ];
        tell(&client, &mut runs);
        server.join().expect("the server ends");
        let told = runs.map(|it| it.by.unwrap_or_default());
        let expected = [
            "when Ingest (run 48) has succeeded",
            "on ticket.opened #89 and agent.free #90",
            "",
            "",
        ];
        assert_eq!(told, expected);
    }
}
