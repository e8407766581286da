//! What Metaflow's forms become.

use crate::text::{good, graph, options, small, tried};
use dalsegno_flowfile::FlowFile;
use dalsegno_flowfile::metaflow::{Options, read_text};
use dalsegno_scheduler::schedule::When;
use dalsegno_scheduler::spec::{
    Command, EventSource, HookOn, Items, JoinRule, OnFailure, ParamKind, Route, StepSpec, Strategy,
    TriggerExpr,
};
use dalsegno_scheduler::{Flow, Span};
use serde_json::json;
use std::path::Path;

fn step<'a>(flow: &'a Flow, name: &str) -> &'a StepSpec {
    flow.step(name).unwrap_or_else(|| panic!("no step {name}"))
}

fn after(flow: &Flow, name: &str) -> Vec<String> {
    step(flow, name)
        .after
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn cron(file: &FlowFile) -> String {
    match &file.flow.spec().schedules[0].when {
        When::Cron { text } => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_foreach_becomes_a_scope_that_its_join_waits_for() {
    let file = good(&graph(&[
        "start: self.work, foreach='xs'",
        "work: self.more",
        "more: self.join",
        "join(inputs): self.end",
        "end",
    ]));
    let spec = file.flow.spec();
    assert_eq!(spec.scopes.len(), 1);
    assert_eq!(spec.scopes[0].name.as_str(), "start-foreach");
    assert_eq!(spec.scopes[0].items, Items::Reported);
    assert_eq!(spec.scopes[0].after[0].as_str(), "start");
    assert_eq!(after(&file.flow, "work"), [""; 0]);
    assert_eq!(after(&file.flow, "more"), ["work"]);
    assert_eq!(after(&file.flow, "join"), ["start-foreach"]);
    assert_eq!(step(&file.flow, "work").scope.0, 1);
    assert_eq!(step(&file.flow, "join").scope.0, 0);
    let Command::Metaflow(work) = &step(&file.flow, "start").run else {
        panic!("not a Metaflow step");
    };
    assert_eq!(work.next[0].as_str(), "work");
}

#[test]
fn a_switch_routes_and_its_ways_meet_again() {
    let file = good(&graph(&[
        "start: {'x': self.a, 'y': self.b, 'z': self.b}, condition='c'",
        "a: self.end",
        "b: self.end",
        "end",
    ]));
    assert_eq!(step(&file.flow, "start").route, Route::Switch);
    assert_eq!(after(&file.flow, "end"), ["a", "b"]);
    assert_eq!(step(&file.flow, "end").join, JoinRule::AnyLive);
}

#[test]
fn a_recursive_step_follows_itself() {
    let file = good(&graph(&[
        "start: self.loop",
        "loop: {True: self.loop, False: self.end}, condition='more'",
        "end",
    ]));
    assert_eq!(after(&file.flow, "loop"), ["start", "loop"]);
    assert_eq!(step(&file.flow, "loop").join, JoinRule::AllLive);
}

#[test]
fn retries_catch_timeout_and_environment_are_the_steps_own() {
    let text = small("", "").replace(
        "    @step\n    def start",
        "    @retry(times=2, minutes_between_retries=3)\n    @catch(var='e')\n    @timeout(minutes=10)\n    @environment(vars={'A': 1, 'B': '${{ x }}'})\n    @step\n    def start",
    );
    let file = good(&text);
    let start = step(&file.flow, "start");
    assert_eq!(start.retry.times, 5, "two for the code, three for @catch");
    assert_eq!(start.retry.backoff.initial, Span::from_mins(3));
    assert_eq!(start.retry.backoff.max, Span::from_mins(3));
    assert_eq!(start.retry.backoff.jitter_percent, 0);
    assert_eq!(
        start.timeout,
        Some(Span::from_secs(660)),
        "Metaflow's own comes first"
    );
    let scope = Default::default();
    assert_eq!(start.env["A"].eval(&scope), Ok(json!("1")));
    assert_eq!(start.env["B"].eval(&scope), Ok(json!("${{ x }}")));
    let Command::Metaflow(metaflow) = &start.run else {
        panic!("not a Metaflow step");
    };
    assert_eq!(metaflow.user_retries, 2);
    assert_eq!(
        metaflow.decorators[3],
        "@retry(times=2, minutes_between_retries=3)"
    );
}

#[test]
fn schedules_are_read_as_metaflow_means_them() {
    for (decorator, expected) in [
        ("@schedule", "0 0 * * ? *"),
        ("@schedule(weekly=True)", "0 0 ? * SUN *"),
        ("@schedule(hourly=True)", "0 * * * ? *"),
        ("@schedule(cron='*/5 8-18 * * 1-5')", "*/5 8-18 * * 1-5"),
        ("@schedule(cron='0 9 ? * 2 *')", "0 9 ? * 2 *"),
        // Minute 58, not second 58.
        ("@schedule(cron='58 * * * * *')", "58 * * * ? *"),
        ("@schedule(cron='0 9 * * MON-FRI *')", "0 9 ? * MON-FRI *"),
        ("@schedule(cron='0 9 1 * * *')", "0 9 1 * ? *"),
    ] {
        let file = good(&small(decorator, ""));
        assert_eq!(cron(&file), expected, "{decorator}");
        assert_eq!(file.flow.spec().schedules[0].name.as_str(), "schedule");
    }
    let off = good(&small("@schedule(daily=False)", ""));
    assert!(off.flow.spec().schedules.is_empty());
    assert!(!off.metaflow.expect("Metaflow").needs_probe);
}

#[test]
fn six_fields_that_only_unix_understands_lose_the_sixth_with_a_word() {
    let file = good(&small("@schedule(cron='0 9 1 * MON *')", ""));
    assert_eq!(cron(&file), "0 9 1 * MON");
    assert_eq!(
        file.warnings.iter().next().map(|it| it.code),
        Some("metaflow.schedule")
    );
}

#[test]
fn one_event_without_a_mapping_fills_parameters_of_its_name() {
    let members = "    Alpha = Parameter('Alpha', default=1)\n    day = Parameter('the-day')\n";
    let file = good(&small("@trigger(event='ready')", members));
    let TriggerExpr::Leaf(leaf) = &file.flow.spec().triggers[0].on else {
        panic!("one event");
    };
    assert!(matches!(&leaf.source, EventSource::Event { kind } if kind == "ready"));
    assert_eq!(leaf.fields["Alpha"], "alpha");
    assert_eq!(leaf.fields["the-day"], "the-day");
    let mapped = good(&small(
        "@trigger(event={'name': 'ready', 'parameters': [('alpha', 'a')]})",
        members,
    ));
    let TriggerExpr::Leaf(leaf) = &mapped.flow.spec().triggers[0].on else {
        panic!("one event");
    };
    assert_eq!(leaf.fields.len(), 1);
    assert_eq!(leaf.fields["Alpha"], "a");
}

#[test]
fn flows_to_wait_for_are_those_of_the_own_project_and_branch() {
    let decorators = "@project(name='p')\n@trigger_on_finish(flows=['A', 'q.test.b.c.B'])";
    let file = good(&small(decorators, ""));
    let spec = file.flow.spec();
    assert_eq!(spec.name.as_str(), "p.user.alice.Small");
    let flows: Vec<String> = spec.triggers[0]
        .on
        .leaves()
        .iter()
        .map(|it| match &it.source {
            EventSource::Flow { flow, .. } => flow.to_string(),
            EventSource::Event { kind } => kind.clone(),
            other => panic!("{other:?} in a Metaflow file"),
        })
        .collect();
    assert_eq!(flows, ["p.user.alice.A", "q.test.b.c.B"]);
    assert!(spec.metaflow.as_ref().is_some_and(|it| it.takes_trigger));
}

#[test]
fn a_deployment_chooses_branch_decorators_and_strategy() {
    let chosen = Options {
        branch: Some("exp".to_owned()),
        production: true,
        with: vec!["retry:times=1,minutes_between_retries=0".to_owned()],
        strategy: Some(Strategy::FirstOnly),
        ..options()
    };
    let text = small("@project(name='p')", "").replace(
        "    @step\n    def end",
        "    @retry(times=3)\n    @step\n    def end",
    );
    let path = Path::new("/nowhere/flow.py");
    let file = read_text(path, &text, &chosen).expect("valid");
    let spec = file.flow.spec();
    assert_eq!(spec.name.as_str(), "p.prod.exp.Small");
    assert_eq!(spec.run.strategy, Strategy::FirstOnly);
    assert_eq!(step(&file.flow, "start").retry.times, 1);
    assert_eq!(step(&file.flow, "end").retry.times, 3, "the file wins");
    assert_ne!(file.version, tried(&text).expect("valid").version);
}

#[test]
fn runs_overlap_as_with_metaflows_own_schedulers() {
    assert_eq!(
        good(&small("", "")).flow.spec().run.strategy,
        Strategy::Parallel(16)
    );
}

#[test]
fn parameters_keep_their_types_and_what_may_be_left_out() {
    let members = "    a = Parameter('a', default=1)\n    b = Parameter('b', type=float)\n    c = Parameter('c', required=True)\n    d = Parameter('d', type=JSONType, default='[1]')\n    e = Parameter('e', multiple=True, default=['x'])\n    f = IncludeFile('f', default='x.csv')\n    g = Parameter('g', default=lambda ctx: 3)\n";
    let file = good(&small("", members));
    let params = &file.flow.spec().params;
    let kinds: Vec<ParamKind> = params.iter().map(|it| it.kind).collect();
    use ParamKind::{Float, Int, Json, String};
    assert_eq!(kinds, [Int, Float, String, Json, Json, String, String]);
    let optional: Vec<bool> = params.iter().map(|it| it.optional).collect();
    assert_eq!(optional, [false, true, false, false, false, false, true]);
    let metaflow = file.flow.spec().metaflow.as_ref().expect("Metaflow");
    assert_eq!(metaflow.multiple, ["e"]);
    assert!(
        !file.metaflow.expect("Metaflow").needs_probe,
        "nobody starts it but people"
    );
}

#[test]
fn exit_hooks_are_steps_beside_the_graph() {
    let text = small("@exit_hook(on_success=[tell], on_error=['tell'])", "")
        .replace("\n@exit_hook", "\ndef tell():\n    pass\n\n@exit_hook");
    let file = good(&text);
    let success = step(&file.flow, "exit-hook-tell");
    assert_eq!(
        (success.hook, success.on_failure),
        (Some(HookOn::Success), OnFailure::Continue)
    );
    assert_eq!(
        step(&file.flow, "exit-hook-tell-2").hook,
        Some(HookOn::Failure)
    );
    assert!(matches!(&success.run, Command::Metaflow(it) if it.hook.as_deref() == Some("tell")));
}

#[test]
fn what_only_running_tells_leaves_the_flow_to_people() {
    let text = small("@schedule(cron=os.getenv('CRON'))\n@trigger(event='x')", "")
        .replace("\n@schedule", "\nimport os\n@schedule");
    let file = good(&text);
    let spec = file.flow.spec();
    assert!(spec.schedules.is_empty() && spec.triggers.is_empty());
    let about = file.metaflow.as_ref().expect("Metaflow");
    assert!(about.needs_probe);
    let dynamic = &spec.metaflow.as_ref().expect("Metaflow").dynamic;
    assert_eq!(dynamic, &about.dynamic);
    assert_eq!(dynamic[0].what, "@schedule(cron=…)");
    assert_eq!(dynamic[0].reason, "`os.getenv(…)` is called");
    assert_eq!(dynamic[0].line, 4);
}

#[test]
fn unknown_decorators_of_steps_are_kept_by_name() {
    let text = small("", "").replace("    @step\n    def start", "    @theirs.traced(level=os.getenv('L'))\n    @batch(cpu=os.cpu_count())\n    @step\n    def start").replace("\nclass", "\nimport os, theirs\nclass");
    let file = good(&text);
    let dynamic = &file.metaflow.as_ref().expect("Metaflow").dynamic;
    assert_eq!(dynamic[0].what, "@theirs.traced");
    let Command::Metaflow(start) = &step(&file.flow, "start").run else {
        panic!("not a Metaflow step");
    };
    assert_eq!(
        start.decorators,
        [
            "@batch(cpu=os.cpu_count())",
            "@theirs.traced(level=os.getenv('L'))"
        ]
    );
    assert_eq!(
        file.warnings.iter().next().map(|it| it.code),
        Some("metaflow.runs_here")
    );
}
