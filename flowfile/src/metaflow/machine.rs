//! What Metaflow's own compiler for Step Functions refuses, refused when the file is read.

use super::declared::{Declared, Kind};
use super::found::Found;
use super::options::Options;
use dalsegno_scheduler::ExecutorKind;
use dalsegno_scheduler::spec::{Retry, StepSpec};

const CODE: &str = "metaflow.step_functions";

/// Batch's shortest limit of an attempt.
const TIMEOUT_MIN_SECS: i64 = 60;

/// The cure where we would do it ourselves.
const BATCH: &str = "with `executor = \"batch\"` under [metaflow] in dalsegno.toml the daemon decides each step, and this works";

pub(super) fn check(declared: &Declared, options: &Options, found: &mut Found) {
    if options.executor != ExecutorKind::StepFunctions {
        return;
    }
    for step in &declared.steps {
        if step.kind == Kind::Switch {
            let message = format!(
                "`{}` is a switch, which Metaflow does not compile for Step Functions",
                step.name
            );
            found.error(&step.place, CODE, message, BATCH);
        }
    }
    for hook in declared
        .decorators
        .iter()
        .filter(|it| it.name == "exit_hook")
    {
        let message = "Metaflow does not compile `@exit_hook` for Step Functions";
        let help = format!(
            "let another flow follow by `@trigger_on_finish`, or take a step for it; {BATCH}"
        );
        found.error(&hook.place, CODE, message, help);
    }
}

/// Batch repeats within one job what `@retry` and `@catch` allow: we see only how it ends.
pub(super) fn of_step(
    step: &mut StepSpec,
    declared: &super::declared::Step,
    grace_secs: i64,
    found: &mut Found,
) {
    step.retry = Retry::default();
    let seconds = step.timeout.map(|it| it.0 / 1_000_000 - grace_secs);
    if let Some(seconds) = seconds.filter(|it| *it < TIMEOUT_MIN_SECS) {
        let place = declared.decorator("timeout");
        let message = format!(
            "`@timeout` of `{}` is {seconds} s, and AWS Batch takes no less than {TIMEOUT_MIN_SECS} s",
            declared.name
        );
        let help = format!("write {TIMEOUT_MIN_SECS} seconds or more, or end the work yourself");
        found.error(
            place.map_or(&declared.place, |it| &it.place),
            CODE,
            message,
            help,
        );
    }
    // The job's own limit counts, for each of its attempts: a limit of ours would count once for all of them.
    step.timeout = None;
}
