//! What a step asks for elsewhere and no machine there has: its jobs would wait for ever.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::file::FlowFile;
use crate::source::Source;
use dalsegno_scheduler::instances::{
    CPU_MILLIS_DEFAULT, Instance, MEMORY_BYTES_DEFAULT, fits_in, most_memory, size, why_not_in,
};
use dalsegno_scheduler::spec::{Remote, StepSpec};

/// Holds what steps ask for against the machines of the compute environments: `instances`, by default
/// [`dalsegno_scheduler::instances::INSTANCES`]. `name` is what findings call the file. What only may surprise is
/// added to the file's warnings.
///
/// A step that names its queue may be placed on any machine, others on those with or without GPUs as they ask for some.
///
/// # Errors
/// When a step fits none of them: all findings, the file's warnings included.
pub fn preflight(
    name: &str,
    file: &mut FlowFile,
    instances: &[Instance],
) -> Result<(), Diagnostics> {
    let source = Source::new(name, &file.source);
    let mut found = Vec::new();
    for step in &file.flow.spec().steps {
        let Some(remote) = &step.remote else {
            continue;
        };
        let problem =
            no_machine(step, remote, instances).or_else(|| no_growth(step, remote, instances));
        let Some((code, message, help)) = problem else {
            continue;
        };
        let diagnostic = match &file.metaflow {
            Some(metaflow) => metaflow.about_resources(step.name.as_str(), code, message, help),
            None => {
                let at = file.resources_at.get(&step.name).unwrap_or(&file.name_at);
                Diagnostic::new(&source, at.clone(), code, message).help(help)
            }
        };
        found.push(match code {
            DOES_NOT_FIT => diagnostic,
            _ => diagnostic.warning(),
        });
    }
    let before = std::mem::take(&mut file.warnings);
    let all = Diagnostics::from(before.into_iter().chain(found).collect::<Vec<_>>());
    if all.has_errors() {
        return Err(all);
    }
    file.warnings = all;
    Ok(())
}

const DOES_NOT_FIT: &str = "batch.does_not_fit";

type Problem = (&'static str, String, &'static str);

fn no_machine(step: &StepSpec, remote: &Remote, instances: &[Instance]) -> Option<Problem> {
    let (cpu, gpus) = asked(remote);
    let memory = step.memory_bytes.unwrap_or(MEMORY_BYTES_DEFAULT);
    let fits = |gpus| fits_in(instances, cpu, memory, gpus).is_some();
    if fits(gpus) || (remote.queue.is_some() && fits(gpus.max(1))) {
        return None;
    }
    let message = format!(
        "`{}` fits no machine of the compute environments: {}",
        step.name,
        why_not_in(instances, cpu, memory, gpus)
    );
    let help = "ask for less, or split the work with a foreach: such a job would wait in its queue for ever";
    Some((DOES_NOT_FIT, message, help))
}

/// The step fits as it begins.
fn no_growth(step: &StepSpec, remote: &Remote, instances: &[Instance]) -> Option<Problem> {
    let max = step.on_oom?.max_bytes;
    let (cpu, gpus) = asked(remote);
    let of_queue = remote
        .queue
        .as_ref()
        .and_then(|_| most_memory(instances, cpu, gpus.max(1)));
    let most = most_memory(instances, cpu, gpus).max(of_queue)?;
    if max <= most {
        return None;
    }
    let message = format!(
        "`on_oom` of `{}` may grow to {}, and the largest machine for the step has {} for jobs",
        step.name,
        size(max),
        size(most)
    );
    let help = "lower `max` to that: more is never given";
    Some(("batch.no_room_to_grow", message, help))
}

fn asked(remote: &Remote) -> (u32, u32) {
    (
        remote.cpu_millis.unwrap_or(CPU_MILLIS_DEFAULT),
        remote.gpus.unwrap_or(0),
    )
}
