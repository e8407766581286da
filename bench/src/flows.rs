//! Flows as the core sees them, for figures that need no flow files.

use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::schedule::{Gap, When};
use dalsegno_scheduler::spec::{
    Command, FlowSpec, Items, JoinRule, OnFailure, Retry, Route, RunPolicy, ScheduleSpec,
    ScopeIndex, ScopeSpec, StepSpec, Strategy, default_grace,
};
use dalsegno_scheduler::{Flow, Input, Span, StepName, Timestamp, Version};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `length` steps one after another.
pub(crate) fn chain(name: &str, length: usize) -> FlowSpec {
    let steps = (0..length).map(|place| {
        let before = place.checked_sub(1).map(|it| format!("s{it}"));
        step(&format!("s{place}"), before, ScopeIndex::ROOT)
    });
    flow(name, steps.collect())
}

/// One task for each of `width` items, with a chain of `length` steps each.
pub(crate) fn fan(name: &str, width: usize, length: usize) -> FlowSpec {
    let steps = (0..length).map(|place| {
        let before = place.checked_sub(1).map(|it| format!("s{it}"));
        step(&format!("s{place}"), before, ScopeIndex(1))
    });
    let mut flow = flow(name, steps.collect());
    let items = (0..width).map(|it| Value::from(it as u64));
    flow.scopes.push(ScopeSpec {
        name: "each".into(),
        parent: ScopeIndex::ROOT,
        after: Vec::new(),
        when: None,
        items: Items::Template(Template::Literal(Value::Array(items.collect()))),
        max_parallel: None,
    });
    flow
}

/// One task, due once, at `due`.
pub(crate) fn scheduled(name: &str, due: Timestamp) -> FlowSpec {
    let mut flow = chain(name, 1);
    flow.schedules.push(ScheduleSpec {
        calendar: None,
        name: "once".into(),
        when: When::Every {
            period: Span::from_secs(1),
        },
        timezone: "UTC".to_owned(),
        gap: Gap::default(),
        overlap: None,
        jitter: Span::ZERO,
        misfire: Default::default(),
        params: BTreeMap::new(),
        start: Some(due),
        end: Some(due + Span::from_secs(1)),
    });
    flow
}

/// The input that makes a flow known.
///
/// # Panics
/// When the flow is not valid.
pub(crate) fn deploy(spec: FlowSpec) -> Input {
    let file = format!("flows/{}.yaml", spec.name);
    let flow = Flow::new(spec).expect("the flows of this crate are valid");
    Input::Deploy {
        flow: Arc::new(flow),
        version: Version::new("0123456789abcdef"),
        source: Arc::from("written by the benchmark"),
        file,
    }
}

fn flow(name: &str, steps: Vec<StepSpec>) -> FlowSpec {
    FlowSpec {
        alerts: Vec::new(),
        slas: Vec::new(),
        blackouts: Vec::new(),
        metaflow: None,
        name: name.into(),
        description: None,
        owner: None,
        tags: Vec::new(),
        params: Vec::new(),
        schedules: Vec::new(),
        triggers: Vec::new(),
        run: RunPolicy {
            strategy: Strategy::Parallel(1_000_000),
            ..RunPolicy::default()
        },
        env: BTreeMap::new(),
        scopes: Vec::new(),
        steps,
    }
}

fn step(name: &str, after: Option<String>, scope: ScopeIndex) -> StepSpec {
    StepSpec {
        slas: Vec::new(),
        hook: None,
        name: name.into(),
        scope,
        after: after.iter().map(StepName::new).collect(),
        join: JoinRule::default(),
        route: Route::default(),
        when: None,
        run: Command::Argv(vec!["true".to_owned()]),
        env: BTreeMap::new(),
        outputs: Vec::new(),
        retry: Retry::default(),
        timeout: None,
        pools: BTreeMap::new(),
        on_failure: OnFailure::default(),
        memory_bytes: None,
        on_oom: None,
        remote: None,
        grace: default_grace(),
    }
}
