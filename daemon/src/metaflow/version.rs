//! A Metaflow flow with its code, and the version that both make.

use dalsegno_flowfile::FlowFile;
use dalsegno_scheduler::metaflow::Code;
use dalsegno_scheduler::{ExecutorKind, Flow, Version};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

/// A flow as it is given to the engine.
#[derive(Clone)]
pub(super) struct Versioned {
    pub(super) flow: Arc<Flow>,
    pub(super) version: Version,
    pub(super) source: Arc<str>,
}

/// Pins the flow of a file to its code. `executions`: what names of executions begin with. `failed`: why Metaflow could not be asked what reading does not tell.
///
/// # Errors
/// When the flow with this code is none any more, which is a fault of ours.
pub(super) fn versioned(
    file: &FlowFile,
    code: Code,
    failed: Option<&str>,
    executions: Option<&str>,
) -> Result<Versioned, String> {
    let mut spec = file.flow.spec().clone();
    if let Some(metaflow) = &mut spec.metaflow {
        metaflow.code = Some(code);
        let mut remotes = spec.steps.iter().filter_map(|it| it.remote.as_ref());
        if remotes.any(|it| it.executor == ExecutorKind::StepFunctions) {
            metaflow.executions = executions.map(str::to_owned);
        }
        if let (Some(failed), Some(first)) = (failed, metaflow.dynamic.first_mut()) {
            first.reason = format!("{}; asking Metaflow failed: {failed}", first.reason);
        }
    }
    let definition = serde_json::to_string(&spec).map_err(|error| error.to_string())?;
    let flow = Flow::new(spec).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.join("; ")
    })?;
    // All that a task can notice is in it: the text, the code's hash, the configs, the options; and the file beside it.
    let mut hash = Sha256::new();
    hash.update(file.source.as_bytes());
    hash.update([0]);
    hash.update(definition.as_bytes());
    if let Some(beside) = file.metaflow.as_ref().and_then(|it| it.sidecar()) {
        hash.update([0]);
        hash.update(beside.as_bytes());
    }
    let mut version = String::with_capacity(16);
    for byte in &hash.finalize()[..8] {
        write!(version, "{byte:02x}").expect("a string takes all that is written to it");
    }
    Ok(Versioned {
        flow: Arc::new(flow),
        version: Version::new(version),
        source: file.source.as_str().into(),
    })
}
