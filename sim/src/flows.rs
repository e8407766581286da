//! Random flows: DAGs with nested foreach, switches, limits, schedules and triggers.

use crate::rng::Rng;
use crate::shapes;
use dalsegno_scheduler::{Flow, Version};
use serde_json::{Value, json};
use std::sync::Arc;

/// A flow file as it was read.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) flow: Arc<Flow>,
    pub(crate) version: Version,
    pub(crate) text: Arc<str>,
}

pub(crate) const FLOWS_MAX: u64 = 4;
/// The last is what Metaflow calls the end of a run of the first flow.
pub(crate) const KINDS: [&str; 4] = ["k0", "k1", "k2", "metaflow.f0.end"];
const MINUTE: i64 = 60_000_000;

pub(crate) fn name(number: u64) -> String {
    format!("f{number}")
}

/// Flow `number` of a world; it may wait for those of smaller numbers.
pub(crate) fn random(rng: &mut Rng, number: u64) -> File {
    let (mut steps, scopes, metaflow) = if rng.chance(15) {
        shapes::random(rng)
    } else {
        let mut draft = Draft {
            rng,
            number,
            steps: Vec::new(),
            scopes: Vec::new(),
        };
        draft.fill(0, 0, 1);
        (draft.steps, draft.scopes, Value::Null)
    };
    for on in ["success", "failure"] {
        if rng.chance(25) {
            let run = match metaflow.is_null() {
                true => json!({"shell": "true"}),
                false => json!({"metaflow": {"hook": on}}),
            };
            steps.push(json!({
                "name": format!("hook-{on}"),
                "run": run,
                "hook": on,
                "retry": {"times": rng.below(2), "backoff": {
                    "initial": 1_000_000, "max": 1_000_000, "multiplier_percent": 100,
                    "jitter_percent": 0,
                }},
            }));
        }
    }
    send_elsewhere(rng, &mut steps, !metaflow.is_null());
    let mut run = run_policy(rng);
    if steps.iter().any(runs_a_flow) {
        run.as_object_mut().expect("an object").remove("pools");
    }
    let spec = json!({
        "name": name(number),
        "params": [{"name": "n", "type": "int", "default": 3}],
        "run": run,
        "steps": steps,
        "scopes": scopes,
        "schedules": schedules(rng),
        "triggers": triggers(rng, number),
        "metaflow": metaflow,
    });
    read(&spec)
}

/// Some steps are jobs elsewhere, or all that may be are states of an execution; some may grow after running out of
/// memory.
fn send_elsewhere(rng: &mut Rng, steps: &mut [Value], metaflow: bool) {
    let execution = !metaflow && rng.chance(10);
    for step in steps.iter_mut().filter(|it| !runs_a_flow(it)) {
        let hook = step.get("hook").is_some();
        if execution && !hook {
            step["remote"] = json!({"executor": "step_functions"});
        } else if !hook && rng.chance(30) {
            step["remote"] = json!({"executor": "batch"});
        }
        if !metaflow && rng.chance(30) {
            step["memory_bytes"] = json!(1_u64 << 29);
            step["on_oom"] = json!({"multiplier_percent": 200, "max_bytes": 1_u64 << 30});
        }
    }
}

fn runs_a_flow(step: &Value) -> bool {
    step["run"].get("flow").is_some()
}

fn read(spec: &Value) -> File {
    let text = spec.to_string();
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let spec = serde_json::from_value(spec.clone()).expect("a random flow reads");
    File {
        flow: Arc::new(Flow::new(spec).expect("a random flow is valid")),
        version: Version::new(format!("{hash:016x}")),
        text: text.into(),
    }
}

struct Draft<'a> {
    rng: &'a mut Rng,
    /// The flow's; its steps may run those of smaller numbers.
    number: u64,
    steps: Vec<Value>,
    scopes: Vec<Value>,
}

impl Draft<'_> {
    /// Steps and blocks of one scope, each after some of those before it.
    fn fill(&mut self, scope: u16, depth: u64, least: u64) {
        let count = least + self.rng.below(if depth == 0 { 5 } else { 2 });
        let mut names: Vec<String> = Vec::new();
        let mut listers: Vec<String> = Vec::new();
        for _ in 0..count {
            let after: Vec<String> = names
                .iter()
                .filter(|_| self.rng.chance(40))
                .cloned()
                .collect();
            if depth < 3 && self.rng.chance(25) {
                names.push(self.block(scope, depth, after, &listers));
            } else {
                let step = self.step(scope, after, &listers);
                if !runs_a_flow(self.steps.last().expect("just made")) {
                    listers.push(step.clone());
                }
                names.push(step);
            }
        }
    }

    fn step(&mut self, scope: u16, mut after: Vec<String>, listers: &[String]) -> String {
        let rng = &mut *self.rng;
        let name = format!("s{}", self.steps.len());
        let when = when(rng, &after, listers);
        let runs = self.number > 0 && rng.chance(20);
        let switch = !runs && rng.chance(20);
        if switch && rng.chance(30) {
            after.push(name.clone());
        }
        let mut pools = json!({});
        if rng.chance(25) {
            pools["p"] = json!(1 + rng.below(3));
        }
        if rng.chance(20) {
            pools["q"] = json!(1);
        }
        let mut step = json!({
            "name": name,
            "scope": scope,
            "after": after,
            "run": {"shell": "true"},
            "outputs": ["n", "items"],
            "join": if rng.chance(25) { "any_live" } else { "all_live" },
            "route": if switch { "switch" } else { "all" },
            "on_failure": *rng.pick(&["fail", "fail", "fail", "continue", "continue", "fail_fast"]),
            "pools": pools,
            "retry": {"times": rng.below(4), "backoff": {
                "initial": 1_000_000, "max": 20_000_000, "multiplier_percent": 200,
                "jitter_percent": 10,
            }},
        });
        if rng.chance(30) {
            step["timeout"] = json!(MINUTE);
        }
        if let Some(when) = when {
            step["when"] = json!(when);
        }
        if runs {
            step["run"] = json!({"flow": {
                "flow": crate::flows::name(rng.below(self.number)),
                "wait": rng.chance(80),
                "params": if rng.chance(30) { json!({"n": rng.below(5)}) } else { json!({}) },
            }});
            // Whoever waits for a run holds nothing that it may want.
            step["pools"] = json!({});
            step["outputs"] = json!([]);
        }
        self.steps.push(step);
        name
    }

    fn block(
        &mut self,
        scope: u16,
        depth: u64,
        mut after: Vec<String>,
        listers: &[String],
    ) -> String {
        let rng = &mut *self.rng;
        let name = format!("b{}", self.scopes.len());
        let when = when(rng, &after, listers);
        let items = match (rng.below(3), listers.last()) {
            (0, Some(lister)) => {
                after = vec![lister.clone()];
                json!("reported")
            }
            (1, Some(lister)) => {
                if !after.contains(lister) {
                    after.push(lister.clone());
                }
                json!({"template": format!("${{{{ steps.{lister}.outputs.items }}}}")})
            }
            _ => json!({"template": (0..rng.below(4)).collect::<Vec<_>>()}),
        };
        let mut block = json!({"name": name, "parent": scope, "after": after, "items": items});
        if rng.chance(30) {
            block["max_parallel"] = json!(1 + rng.below(2));
        }
        if let Some(when) = when {
            block["when"] = json!(when);
        }
        self.scopes.push(block);
        let inside = self.scopes.len() as u16;
        self.fill(inside, depth + 1, 1);
        name
    }
}

fn when(rng: &mut Rng, after: &[String], listers: &[String]) -> Option<String> {
    if !rng.chance(20) {
        return None;
    }
    let seen = after.iter().find(|it| listers.contains(it));
    Some(match (rng.below(3), seen) {
        (0, _) => "false".to_owned(),
        (1, Some(step)) => format!("steps.{step}.outputs.n != null && steps.{step}.outputs.n > 1"),
        // May be wrong at the time: then the step fails with the reason.
        (_, Some(step)) => format!("steps.{step}.outputs.n > 0"),
        _ => "params.n > 2".to_owned(),
    })
}

fn run_policy(rng: &mut Rng) -> Value {
    let strategy = match rng.below(7) {
        0 => json!("strict_sequential"),
        1 => json!("first_only"),
        2 => json!("last_only"),
        3 => json!("serial_latest_only"),
        4 | 5 => json!({"parallel": 1 + rng.below(3)}),
        _ => json!("sequential"),
    };
    let mut run = json!({"strategy": strategy, "priority": rng.below(5) as i64 - 2});
    if rng.chance(20) {
        run["pools"] = json!({"r": 1 + rng.below(2)});
    }
    if rng.chance(20) {
        run["timeout"] = json!(90 * MINUTE);
    }
    if rng.chance(25) {
        run["max_parallel_tasks"] = json!(1 + rng.below(3));
    }
    run
}

fn schedules(rng: &mut Rng) -> Value {
    let count = if rng.chance(50) { 0 } else { 1 + rng.below(2) };
    let schedules: Vec<Value> = (0..count)
        .map(|number| {
            let when = match rng.below(3) {
                0 => json!({"every": {"period": 5 * MINUTE}}),
                1 => json!({"cron": {"text": "*/7 * * * *"}}),
                _ => json!({"cron": {"text": "30 * * * *"}}),
            };
            let policy = ["skip", "latest", "all"];
            json!({
                "name": format!("c{number}"),
                "when": when,
                "timezone": "Europe/Berlin",
                "jitter": if rng.chance(30) { MINUTE } else { 0 },
                "misfire": {
                    "down": *rng.pick(&policy), "paused": *rng.pick(&policy),
                    "max": 1 + rng.below(3), "window": 60 * MINUTE,
                },
            })
        })
        .collect();
    json!(schedules)
}

fn triggers(rng: &mut Rng, number: u64) -> Value {
    let count = rng.below(3);
    let triggers: Vec<Value> = (0..count)
        .map(|place| {
            let mut trigger = json!({
                "name": format!("t{place}"),
                "on": expression(rng, number, 0),
                "join_on": *rng.pick(&["interval", "expr", "none"]),
            });
            if rng.chance(50) {
                trigger["within"] = json!(2 * MINUTE);
            }
            if rng.chance(25) {
                trigger["reset_at"] = json!({
                    "when": {"cron": {"text": "*/3 * * * *"}}, "timezone": "Europe/Berlin",
                });
            }
            trigger
        })
        .collect();
    json!(triggers)
}

fn expression(rng: &mut Rng, number: u64, depth: u64) -> Value {
    if depth < 2 && rng.chance(50) {
        let parts: Vec<Value> = (0..1 + rng.below(3))
            .map(|_| expression(rng, number, depth + 1))
            .collect();
        return if rng.chance(60) {
            json!({"all_of": parts})
        } else {
            json!({"any_of": parts})
        };
    }
    let source = if number > 0 && rng.chance(40) {
        let on = *rng.pick(&["succeeded", "failed", "finished"]);
        json!({"flow": {"flow": name(rng.below(number)), "on": on}})
    } else {
        // The first flow may not wait for itself.
        let kinds = if number > 0 { &KINDS[..] } else { &KINDS[..3] };
        json!({"event": {"kind": *rng.pick(kinds)}})
    };
    let mut leaf = json!({"source": source});
    if rng.chance(20) && leaf["source"].get("event").is_some() {
        leaf["where"] = json!("event.data.n > 2");
    }
    if rng.chance(60) && leaf["source"].get("event").is_some() {
        leaf["join"] = json!("event.data.key");
    }
    if rng.chance(20) {
        leaf["fields"] = json!({"n": *rng.pick(&["n", "nothing"])});
    }
    json!({"leaf": leaf})
}
