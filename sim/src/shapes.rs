//! Random flows of the shapes that Metaflow knows: splits that join, foreaches, switches, recursion and gangs, nested.

use crate::rng::Rng;
use serde_json::{Value, json};

/// The steps, foreaches and Metaflow part of a flow. Steps are numbered branch by branch, so that of those that meet
/// in a join the earlier branch has the smaller number.
pub(crate) fn random(rng: &mut Rng) -> (Vec<Value>, Vec<Value>, Value) {
    let mut shape = Shape {
        rng,
        steps: Vec::new(),
        scopes: Vec::new(),
    };
    let start = shape.step(0, &[], &[], json!({}));
    let one = [start];
    let last = [shape.chain(0, 0, &one, &one)];
    let end = shape.step(0, &last, &last, json!({}));
    let [start] = one;
    let metaflow = json!({"class": "F", "start": start, "end": end});
    (shape.steps, shape.scopes, metaflow)
}

/// The number in a step's name.
pub(crate) fn number(step: &str) -> usize {
    step.trim_start_matches('s').parse().unwrap_or(usize::MAX)
}

struct Shape<'a> {
    rng: &'a mut Rng,
    steps: Vec<Value>,
    scopes: Vec<Value>,
}

impl Shape<'_> {
    /// A step after these names in its scope; those steps go on to it.
    fn step(&mut self, scope: u16, after: &[String], from: &[String], run: Value) -> String {
        let name = format!("s{}", self.steps.len());
        for from in from {
            let next = &mut self.steps[number(from)]["run"]["metaflow"]["next"];
            next.as_array_mut().expect("a list").push(json!(name));
        }
        let rng = &mut *self.rng;
        let mut step = json!({
            "name": name,
            "scope": scope,
            "after": after,
            "join": if after.len() > 1 { "any_live" } else { "all_live" },
            "run": {"metaflow": {"next": [], "user_retries": rng.below(4)}},
            "retry": {"times": rng.below(9), "backoff": {
                "initial": 1_000_000, "max": 1_000_000, "multiplier_percent": 100,
                "jitter_percent": 0,
            }},
        });
        for (name, value) in run.as_object().expect("an object") {
            step["run"]["metaflow"][name] = value.clone();
        }
        if rng.chance(20) {
            step["timeout"] = json!(60_000_000);
        }
        self.steps.push(step);
        name
    }

    /// One or two parts in a row; gives the last step, which is never a switch.
    fn chain(&mut self, scope: u16, depth: u64, after: &[String], from: &[String]) -> String {
        let last = self.part(scope, depth, after, from);
        if self.rng.chance(60) {
            return last;
        }
        let last = [last];
        self.part(scope, depth, &last, &last)
    }

    fn part(&mut self, scope: u16, depth: u64, after: &[String], from: &[String]) -> String {
        let first = self.step(scope, after, from, json!({}));
        let one = [first.clone()];
        match self.rng.below(if depth < 2 { 8 } else { 2 }) {
            0 => first,
            1 => self.again(scope, &first),
            2 | 3 => self.branches(scope, depth, &one),
            4 | 5 => {
                self.steps[number(&first)]["route"] = json!("switch");
                self.branches(scope, depth, &one)
            }
            6 => {
                let inside = self.foreach(scope, &first);
                let last = self.step(inside, &[], &one, json!({"parallel": true}));
                self.step(scope, &[format!("{first}-foreach")], &[last], json!({}))
            }
            _ => {
                let inside = self.foreach(scope, &first);
                let last = self.chain(inside, depth + 1, &[], &one);
                self.step(scope, &[format!("{first}-foreach")], &[last], json!({}))
            }
        }
    }

    /// The step may go on to itself.
    fn again(&mut self, scope: u16, step: &str) -> String {
        let own = &mut self.steps[number(step)];
        own["route"] = json!("switch");
        own["after"]
            .as_array_mut()
            .expect("a list")
            .push(json!(step));
        own["run"]["metaflow"]["next"] = json!([step]);
        let one = [step.to_owned()];
        self.step(scope, &one, &one, json!({}))
    }

    /// Two ways from a step, and where they meet.
    fn branches(&mut self, scope: u16, depth: u64, from: &[String]) -> String {
        let mut ends = Vec::new();
        for _ in 0..2 {
            ends.push(self.chain(scope, depth + 1, from, from));
        }
        // The order in which the file names them is not that of the branches.
        let mut after = ends.clone();
        after.reverse();
        self.step(scope, &after, &ends, json!({}))
    }

    fn foreach(&mut self, scope: u16, step: &str) -> u16 {
        self.scopes.push(json!({
            "name": format!("{step}-foreach"), "parent": scope, "after": [step], "items": "reported",
        }));
        self.scopes.len() as u16
    }
}
