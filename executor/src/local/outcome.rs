//! From how a process ended to what that means for its task.

use super::output;
use crate::keeper::protocol::End;
use dalsegno_scheduler::{Outcome, Reason, Success};
use std::path::Path;

/// The exit status by which a task says that it should not be tried again, as in Metaflow.
pub(crate) const DO_NOT_RETRY: i32 = 202;

/// What an end means; reads the output file of a task that says it succeeded.
pub(crate) fn outcome(
    end: End,
    memory_bytes: Option<u64>,
    output_file: &Path,
    declared: &[String],
) -> Outcome {
    match end {
        End::Exit(0) => match output::read(output_file, declared) {
            Ok(outputs) => Outcome::Succeeded(Success {
                outputs,
                ..Success::default()
            }),
            Err(message) => Outcome::Failed(Reason::BadOutput { message }),
        },
        End::Exit(status @ DO_NOT_RETRY) => Outcome::Failed(Reason::DoNotRetry { status }),
        End::Exit(status) => Outcome::Failed(Reason::Exit { status }),
        End::Signal(signal) => Outcome::Failed(Reason::Signal { signal }),
        End::Stopped => Outcome::Stopped,
        End::OutOfMemory => Outcome::Failed(Reason::OutOfMemory {
            limit_bytes: memory_bytes,
        }),
        End::NotStarted(message) => Outcome::Failed(Reason::NotStarted { message }),
        End::Lost(message) => Outcome::Lost(message),
    }
}
