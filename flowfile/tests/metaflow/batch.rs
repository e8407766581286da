//! `@batch`, where the operator lets steps run on AWS.

use dalsegno_flowfile::metaflow::{Options, read_text};
use dalsegno_flowfile::{Diagnostics, FlowFile, preflight};
use dalsegno_scheduler::ExecutorKind;
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::instances::INSTANCES;
use dalsegno_scheduler::spec::StepSpec;
use std::path::Path;

fn flow(decorators: &str) -> String {
    format!(
        "from metaflow import FlowSpec, batch, resources, step\nimport os\n\nclass Far(FlowSpec):\n{decorators}    @step\n    def start(self):\n        self.next(self.end)\n\n    @step\n    def end(self):\n        pass\n\nif __name__ == \"__main__\":\n    Far()\n"
    )
}

fn tried(executor: ExecutorKind, decorators: &str) -> Result<FlowFile, Diagnostics> {
    let options = Options {
        executor,
        ..Options::default()
    };
    read_text(Path::new("/nowhere/far.py"), &flow(decorators), &options)
}

fn on(executor: ExecutorKind, decorators: &str) -> FlowFile {
    tried(executor, decorators).unwrap_or_else(|it| panic!("{}", it.render(false)))
}

fn start(file: &FlowFile) -> &StepSpec {
    file.flow.step("start").expect("there")
}

fn asked(decorators: &str) -> (Option<u32>, Option<u64>, Option<u32>) {
    let file = on(ExecutorKind::Batch, decorators);
    let remote = start(&file).remote.as_ref().expect("it runs elsewhere");
    let memory = start(&file).memory_bytes.map(|it| it >> 20);
    (remote.cpu_millis, memory, remote.gpus)
}

#[test]
fn on_a_laptop_batch_has_no_effect() {
    let file = on(ExecutorKind::Local, "    @batch(cpu=64)\n");
    assert_eq!(start(&file).remote, None);
    let codes: Vec<&str> = file.warnings.iter().map(|it| it.code).collect();
    assert_eq!(codes, ["metaflow.runs_here"]);
}

#[test]
fn steps_with_batch_are_jobs_and_others_are_not() {
    let file = on(ExecutorKind::Batch, "    @batch\n");
    assert!(file.warnings.is_empty(), "{}", file.warnings.render(false));
    let remote = start(&file).remote.as_ref().expect("it runs elsewhere");
    assert_eq!(remote.executor, ExecutorKind::Batch);
    assert_eq!(file.flow.step("end").expect("there").remote, None);
    let file = on(ExecutorKind::Batch, "    @resources(gpu=1)\n");
    assert_eq!(start(&file).remote, None);
}

#[test]
fn under_step_functions_all_steps_are_jobs() {
    let file = on(ExecutorKind::StepFunctions, "    @resources(memory=8000)\n");
    for step in &file.flow.spec().steps {
        let remote = step.remote.as_ref().expect("it runs elsewhere");
        assert_eq!(remote.executor, ExecutorKind::StepFunctions);
    }
    assert_eq!(start(&file).memory_bytes, Some(8_000 << 20));
}

#[test]
fn the_larger_of_batch_and_resources_counts_as_in_metaflow() {
    assert_eq!(asked("    @batch\n"), (Some(1_000), Some(4_096), None));
    assert_eq!(
        asked("    @batch(memory=1000)\n"),
        (Some(1_000), Some(1_000), None)
    );
    assert_eq!(
        asked("    @resources(cpu=4, memory=500)\n    @batch(cpu='2', memory='1000', gpu=1)\n"),
        (Some(4_000), Some(1_000), Some(1))
    );
    // What `@resources` does not say it says by its defaults.
    assert_eq!(
        asked("    @resources(gpu=2)\n    @batch(memory=1000, cpu=0.5)\n"),
        (Some(1_000), Some(4_096), Some(2))
    );
}

#[test]
fn all_else_that_batch_takes_reaches_the_job() {
    let file = on(
        ExecutorKind::Batch,
        "    @batch(image='python:3.12', queue='q', iam_role='arn:aws:iam::123456789012:role/a', shared_memory=64, aws_batch_tags={'team': 'growth'}, use_tmpfs=True, max_swap=10, privileged=True, host_volumes=['/data'], efs_volumes='fs-1:/mnt/x', log_driver='awslogs', log_options=['awslogs-group:a:b'], inferentia=1)\n",
    );
    let step = start(&file);
    let remote = step.remote.as_ref().expect("it runs elsewhere");
    assert_eq!(remote.image.as_deref(), Some("python:3.12"));
    assert_eq!(remote.queue.as_deref(), Some("q"));
    assert_eq!(remote.shared_memory_mib, Some(64));
    assert_eq!(remote.tags["team"], "growth");
    assert_eq!(
        step.env["METAFLOW_TEMPDIR"],
        Template::exact("/metaflow_temp".into())
    );
    let container = serde_json::to_string_pretty(&remote.container).expect("JSON");
    insta::assert_snapshot!(container);
}

#[test]
fn what_batch_does_not_take_is_told() {
    for (decorator, message) in [
        (
            "@batch(cpu='many')",
            "`cpu` of `@batch` is 'many', and a number from 0.25 to 192 is expected",
        ),
        (
            "@batch(gpu=9)",
            "`gpu` of `@batch` is 9, and a number from 0 to 8 is expected",
        ),
        (
            "@batch(iam_role='admin')",
            "`iam_role` of `@batch` is 'admin', and the ARN of a role is expected",
        ),
        (
            "@batch(queue='a b')",
            "`queue` of `@batch` is 'a b', and the name or ARN of a job queue is expected",
        ),
        (
            "@batch(swappiness=101)",
            "`swappiness` of `@batch` is 101, and a whole number from 0 to 100 is expected",
        ),
        (
            "@batch(aws_batch_tags={'aws:a': 'b'})",
            "the tag `aws:a` begins with `aws:`, which AWS keeps for itself",
        ),
    ] {
        let found = tried(ExecutorKind::Batch, &format!("    {decorator}\n")).expect_err(decorator);
        let first = found.iter().next().expect("a finding");
        assert_eq!(
            (first.code, first.message.as_str(), first.line),
            ("metaflow.batch", message, 5)
        );
        assert!(first.help.is_some());
    }
}

#[test]
fn what_only_running_the_file_tells_has_to_be_asked() {
    let file = on(ExecutorKind::Batch, "    @batch(cpu=os.cpu_count())\n");
    let dynamic = &file.metaflow.as_ref().expect("Metaflow").dynamic;
    assert_eq!(dynamic[0].what, "@batch(cpu=…)");
}

#[test]
fn what_fits_no_machine_is_refused_at_its_decorator() {
    let mut file = on(ExecutorKind::Batch, "    @batch(cpu=64)\n");
    let found = preflight("far.py", &mut file, &INSTANCES).expect_err("too much");
    let first = found.iter().next().expect("a finding");
    assert_eq!((first.code, first.line), ("batch.does_not_fit", 5));
}

#[test]
fn versions_of_flows_that_run_here_are_what_they_were() {
    let here = serde_json::to_value(Options::default()).expect("plain data");
    assert!(here.get("executor").is_none());
    let local = on(ExecutorKind::Local, "    @batch\n").version;
    assert_ne!(local, on(ExecutorKind::Batch, "    @batch\n").version);
}
