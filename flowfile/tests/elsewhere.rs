//! Steps that run as jobs of AWS Batch, and flows under Step Functions, as they are written in YAML.

use dalsegno_flowfile::{FlowFile, Severity, parse, preflight, read_dir};
use dalsegno_scheduler::ExecutorKind;
use dalsegno_scheduler::instances::INSTANCES;
use dalsegno_scheduler::spec::Remote;
use std::fmt::Write;
use std::path::Path;

fn read(text: &str) -> FlowFile {
    parse("flow.yaml", text).unwrap_or_else(|it| panic!("{text}\n{}", it.render(false)))
}

/// Renders the findings of each text, one after the other.
fn shown(texts: &[&str]) -> String {
    let mut all = String::new();
    for text in texts {
        let found = match parse("flow.yaml", text) {
            Ok(file) if file.warnings.is_empty() => panic!("nothing is wrong with\n{text}"),
            Ok(file) => file.warnings,
            Err(found) => found,
        };
        for it in &found {
            assert!(it.help.is_some(), "no cure: {it:?}");
        }
        writeln!(all, "{}\n────────", found.render(false).trim_end()).expect("a string");
    }
    all
}

macro_rules! assert_shown {
    ($texts:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(shown($texts)) })
    };
}

fn on_batch(lines: &str) -> String {
    format!("flow: shop\nexecutor: batch\nsteps:\n  train:\n    run: ./train.sh\n{lines}")
}

fn executors(file: &FlowFile) -> Vec<(&str, ExecutorKind)> {
    let kind = |it: &Remote| it.executor;
    let steps = file.flow.spec().steps.iter();
    steps
        .map(|it| {
            (
                it.name.as_str(),
                it.remote.as_deref().map_or(ExecutorKind::Local, kind),
            )
        })
        .collect()
}

#[test]
fn steps_take_the_executor_of_their_flow_unless_they_name_one() {
    let file = read(
        "flow: a\nexecutor: batch\nsteps:\n  far: { run: x }\n  near: { run: x, executor: local }\n  other: { flow: b }\n  many: { foreach: [1], steps: { in: { run: x } } }\n",
    );
    assert_eq!(
        executors(&file),
        [
            ("far", ExecutorKind::Batch),
            ("near", ExecutorKind::Local),
            ("other", ExecutorKind::Local),
            ("in", ExecutorKind::Batch),
        ]
    );
    let file = read("flow: a\nsteps:\n  near: { run: x }\n  far: { run: x, executor: batch }\n");
    assert_eq!(
        executors(&file),
        [("near", ExecutorKind::Local), ("far", ExecutorKind::Batch)]
    );
    let file =
        read("flow: a\nexecutor: step_functions\nsteps: { b: { run: x }, c: { flow: other } }");
    assert_eq!(
        executors(&file),
        [
            ("b", ExecutorKind::StepFunctions),
            ("c", ExecutorKind::Local),
        ]
    );
}

#[test]
fn what_a_job_asks_for_is_read() {
    let text = on_batch(
        "    image: python:3.12\n    resources: { cpu: 2, memory: 8GiB, gpu: 1 }\n    on_oom: { max: 12GiB, memory: x1.5 }\n    batch: { queue: 'arn:aws:batch:eu-central-1:123456789012:job-queue/gpu', container: { user: 1000 } }\n",
    );
    let file = read(&text);
    assert!(file.warnings.is_empty(), "{}", file.warnings.render(false));
    let step = file.flow.step("train").expect("there");
    let remote = step.remote.as_deref().expect("it runs elsewhere");
    assert_eq!(step.memory_bytes, Some(8 << 30));
    assert_eq!(
        step.on_oom.map(|it| (it.multiplier_percent, it.max_bytes)),
        Some((150, 12 << 30))
    );
    assert_eq!(remote.image.as_deref(), Some("python:3.12"));
    assert_eq!((remote.cpu_millis, remote.gpus), (Some(2_000), Some(1)));
    assert!(
        remote
            .queue
            .as_deref()
            .is_some_and(|it| it.ends_with("/gpu"))
    );
    assert_eq!(remote.container["user"], "1000");
}

#[test]
fn a_process_that_ran_out_of_memory_may_get_more_here_too() {
    let file = read(
        "flow: a\nsteps: { b: { run: x, resources: { memory: 1GiB }, on_oom: { max: 4GiB } } }",
    );
    let step = file.flow.step("b").expect("there");
    assert!(step.remote.is_none());
    assert_eq!(
        step.on_oom.map(|it| (it.multiplier_percent, it.max_bytes)),
        Some((200, 4 << 30))
    );
}

#[test]
fn who_executes_is_checked() {
    assert_shown!(&[
        "flow: a\nexecutor: kubernetes\nsteps: { b: { run: x } }",
        "flow: a\nsteps: { b: { run: x, executor: step_functions } }",
        "flow: a\nexecutor: step_functions\nsteps: { b: { run: x, executor: local } }",
        "flow: a\nexecutor: step_functions\nrun: { max_parallel_tasks: 4 }\nsteps: { b: { run: x, pools: { db: 1 } } }",
        "flow: a\nsteps: { b: { run: x, image: python, batch: { queue: q } } }",
        "flow: a\nsteps: { b: { run: x, resources: { cpu: 8, gpu: 1 } } }",
        "flow: a\nexecutor: batch\nsteps: { b: { flow: c, image: python, batch: { queue: q }, executor: local } }",
    ]);
}

#[test]
fn what_a_job_asks_for_is_checked() {
    let texts = [
        "    resources: { cpu: 0.1, gpu: 9, memory: 1MiB }\n",
        "    resources: { cpu: 200, gpu: 0, memory: 4096 }\n",
        "    resources: { cpu: 500m, gpu: A100, memory: 30G }\n",
        "    image: ''\n",
        "    image: my image\n",
        "    on_oom: { memory: x2, max: 4GiB }\n",
        "    resources: { memory: 4GiB }\n    on_oom: { memory: x1, max: 8GiB }\n",
        "    resources: { memory: 4GiB }\n    on_oom: { memory: double, max: 8GiB }\n",
        "    resources: { memory: 4GiB }\n    on_oom: { memory: 2, max: 8GiB }\n",
        "    resources: { memory: 4GiB }\n    on_oom: { memory: x2, max: 2GiB }\n",
        "    resources: { memory: 4GiB }\n    on_oom: { memory: x2 }\n",
        "    batch: { queue: 'my queue', job_role: trainer, execution_role: 7, shared_memory: 2, timeout: 4h }\n",
        "    batch: { tags: { 'aws:a': b, 'dalsegno:run': 7, odd: 'a,b', list: [1] } }\n",
        "    batch: { container: { command: [x], vcpus: 4, memory: 4, ulimit: [], user: [a], privileged: 'yes' } }\n",
        "    batch: { shared_memory: 1GiB, container: { linuxParameters: { sharedMemorySize: 64 } } }\n",
    ];
    let texts = texts.map(on_batch);
    assert_shown!(&texts.each_ref().map(String::as_str));
}

#[test]
fn what_will_surprise_is_told_and_the_flow_is_taken() {
    let texts = [
        "    timeout: 20s\n",
        "    resources: { cpu: 0.5 }\n",
        "    grace: 2m\n",
    ];
    let texts = texts.map(on_batch);
    for text in &texts {
        let file = read(text);
        assert!(
            file.warnings
                .iter()
                .all(|it| it.severity == Severity::Warning)
        );
    }
    assert_shown!(&texts.each_ref().map(String::as_str));
}

#[test]
fn too_many_tags_are_refused() {
    let tags: Vec<String> = (0..45).map(|it| format!("k{it}: v")).collect();
    let text = on_batch(&format!(
        "    batch: {{ tags: {{ {} }} }}\n",
        tags.join(", ")
    ));
    let found = parse("flow.yaml", &text).expect_err("45 tags");
    let messages: Vec<&str> = found.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(messages, ["a job has room for 44 tags, and there are 45"]);
}

/// The findings of the preflight as `line severity code: message`.
fn preflighted(text: &str) -> Vec<String> {
    let mut file = read(text);
    let found = match preflight("flow.yaml", &mut file, &INSTANCES) {
        Ok(()) => file.warnings,
        Err(found) => found,
    };
    let shown = found.iter().map(|it| {
        let severity = match it.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!("{} {severity} {}: {}", it.line, it.code, it.message)
    });
    shown.collect()
}

#[test]
fn what_fits_no_machine_is_refused_before_it_waits_for_ever() {
    let nothing: [&str; 0] = [];
    assert_eq!(
        preflighted(&on_batch("    resources: { cpu: 8, memory: 30GiB }\n")),
        nothing
    );
    assert_eq!(preflighted(&on_batch("")), nothing);
    assert_eq!(
        preflighted(&on_batch("    resources: { cpu: 64 }\n")),
        [
            "6 error batch.does_not_fit: `train` fits no machine of the compute environments: 64 vCPUs are more than any machine without GPUs has: c6i.8xlarge has 32"
        ]
    );
    assert_eq!(
        preflighted(&on_batch("    resources: { memory: 64GiB }\n")),
        [
            "6 error batch.does_not_fit: `train` fits no machine of the compute environments: 64 GiB of memory are more than any machine without GPUs has: c6i.8xlarge has 60.7 GiB for jobs, of 64 GiB"
        ]
    );
    assert_eq!(
        preflighted(&on_batch(
            "    resources: { memory: 4GiB, gpu: 1, cpu: 100 }\n"
        )),
        [
            "6 error batch.does_not_fit: `train` fits no machine of the compute environments: 100 vCPUs are more than any machine with GPUs has: p4d.24xlarge has 96"
        ]
    );
    // Nobody knows which machines a queue has that the step names.
    assert_eq!(
        preflighted(&on_batch(
            "    resources: { memory: 64GiB }\n    batch: { queue: large }\n"
        )),
        nothing
    );
    // Memory that is never reached is no error.
    assert_eq!(
        preflighted(&on_batch(
            "    resources: { memory: 30GiB }\n    on_oom: { max: 120GiB }\n"
        )),
        [
            "6 warning batch.no_room_to_grow: `on_oom` of `train` may grow to 120 GiB, and the largest machine for the step has 60.7 GiB for jobs"
        ]
    );
    // A process on this machine fits or does not, whatever others have.
    assert_eq!(
        preflighted("flow: a\nsteps: { b: { run: x, resources: { memory: 900GiB } } }"),
        nothing
    );
}

#[test]
fn the_examples_for_aws_are_accepted_and_fit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flows/_aws");
    let files = read_dir(&folder);
    assert_eq!(files.len(), 2);
    for (path, file) in files {
        let mut file = file.unwrap_or_else(|it| panic!("{}", it.render(false)));
        preflight("example.yaml", &mut file, &INSTANCES).expect("it fits");
        assert!(file.warnings.is_empty(), "{}", path.display());
        assert!(
            executors(&file)
                .iter()
                .any(|(_, it)| *it != ExecutorKind::Local)
        );
    }
}
