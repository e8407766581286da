//! What a person can do about a reason.

use crate::instances;
use crate::reason::{Limit, Reason, SubmissionWait};

/// What would unblock, repair or bring it back; `None` where it passes by itself, or is as it was asked for. `flow`: the
/// flow it is about.
///
/// Every reason stands here by name, so that a new one cannot be forgotten.
pub fn cure(reason: &Reason, flow: &str) -> Option<String> {
    Some(match reason {
        Reason::LimitFull { limit, .. } => match limit {
            Limit::Tasks => "raise max_tasks in dalsegno.toml".to_owned(),
            Limit::Remote => "raise max_remote_tasks in dalsegno.toml".to_owned(),
            Limit::Pool(pool) => format!("make pool {pool} larger in dalsegno.toml"),
            Limit::Run(_) => "raise max_parallel_tasks in the flow file".to_owned(),
            Limit::Scope(_, step) => format!("raise max_parallel of {step} in the flow file"),
            Limit::Flow(flow) => {
                format!(
                    "wait, cancel a run of {flow}, or let more run at once: `run: {{ strategy: {{ parallel: N }} }}`"
                )
            }
            Limit::Backfill(id) => format!("wait; dalsegno backfill show {id} tells how far it is"),
            Limit::BackfillTasks | Limit::BackfillPool(_) => {
                "raise backfill_share in dalsegno.toml, if backfills may take more".to_owned()
            }
        },
        Reason::BlockedByFailure { run } => {
            format!("dalsegno resume {run}, or dalsegno unpause {flow} to go on without it")
        }
        Reason::FlowPaused { .. } => format!("dalsegno unpause {flow}"),
        Reason::Exit { .. } | Reason::UserError { .. } | Reason::Signal { .. } => {
            "read its log, put it right, and resume the run".to_owned()
        }
        Reason::DoNotRetry { .. } => {
            "it asked not to be repeated; put it right and resume the run".to_owned()
        }
        Reason::Configuration { .. } => "put that right and resume the run".to_owned(),
        Reason::OutOfMemory { limit_bytes } => {
            let next = limit_bytes.and_then(|it| {
                let cpu = instances::CPU_MILLIS_DEFAULT;
                instances::suggestion(it, cpu, 0)
            });
            let next = next.map(|it| format!(" to {it}")).unwrap_or_default();
            format!(
                "raise resources.memory of the step{next}, or let it grow by itself (on_oom), and resume the run"
            )
        }
        Reason::AttemptTimeout { .. } => {
            "raise timeout of the step, or make it quicker, and resume the run".to_owned()
        }
        Reason::Lost { .. } => "resume the run; `dalsegno doctor` looks at this machine".to_owned(),
        Reason::NotStarted { .. } => {
            "put right what it names (program, folder, limits), and resume the run".to_owned()
        }
        Reason::SubmissionWaits { cause, .. } => match cause {
            SubmissionWait::RateLimit | SubmissionWait::Throttled => return None,
            SubmissionWait::UnknownOutcome => return None,
            SubmissionWait::BreakerOpen => {
                "it is tried again by itself; dalsegno breakers tells which service fails".to_owned()
            }
            SubmissionWait::Unreachable => {
                "it is tried again by itself; `dalsegno doctor` looks at the service".to_owned()
            }
            SubmissionWait::Denied => {
                "give the daemon credentials with the permissions of docs/aws.md; `dalsegno doctor` tells what is missing"
                    .to_owned()
            }
        },
        Reason::JobWaits { .. } => {
            "look at the queue and its compute environments; dalsegno cancel ends the wait".to_owned()
        }
        Reason::Network { .. } | Reason::Throttled { .. } => {
            "resume the run once the service is well again".to_owned()
        }
        Reason::Capacity { .. } => {
            "ask for less (resources), let its queue have more machines, or name another queue; then resume the run"
                .to_owned()
        }
        Reason::Job { .. } | Reason::Execution { .. } => {
            "read its log, put it right, and resume the run".to_owned()
        }
        Reason::BadOutput { .. } => {
            "write outputs as NAME=JSON lines to $DALSEGNO_OUTPUT, and resume the run".to_owned()
        }
        Reason::Expression { .. } => {
            "repair the expression in the flow file, and resume the run".to_owned()
        }
        Reason::SubFlow { run, .. } => {
            format!("dalsegno why {run}; a resume of the outer run goes on with it")
        }
        Reason::SubFlowRefused { because, .. } => return cure(because, flow),
        Reason::SubFlowUnknown { flow, .. } => {
            format!("add a flow file for {flow}, or correct the step, and resume the run")
        }
        Reason::SubFlowDepth { .. } => "nest fewer flows".to_owned(),
        Reason::ParentStopped { run, .. } => format!("dalsegno why {run}"),
        Reason::TasksFailed { .. } | Reason::RunTimeout { .. } | Reason::CancelledBy { .. } => {
            "dalsegno resume goes on with what is not finished".to_owned()
        }
        Reason::FailFast { .. } => "repair that task, and resume the run".to_owned(),
        Reason::ReplacedBy { run } => {
            format!("nothing, if run {run} is what you want; else choose another run strategy")
        }
        Reason::BadParams { .. } => {
            "correct the parameters: those of the trigger or schedule are in the flow file"
                .to_owned()
        }
        Reason::StrategyRefused { running, .. } => {
            format!(
                "wait for run {running} to end, or choose another run strategy, such as sequential"
            )
        }
        Reason::MissedDown { .. } => format!(
            "`misfire: {{ down: all, max: N }}` catches up the newest N by itself; dalsegno backfill plan {flow} --from … runs what is missing"
        ),
        Reason::MissedTooMany { .. } => format!(
            "raise `misfire: {{ max: … }}`, or run what is missing: dalsegno backfill plan {flow} --from …"
        ),
        Reason::MissedTooOld { .. } => format!(
            "raise `misfire: {{ window: … }}`, or run what is missing: dalsegno backfill plan {flow} --from …"
        ),
        Reason::FlowInvalid { .. } => {
            "`dalsegno check` says what is wrong; repair the file".to_owned()
        }
        Reason::FlowRemoved => "put the flow file back".to_owned(),
        Reason::Calendar { .. } => {
            format!("`calendar: {{ roll: next }}` moves such days; dalsegno run {flow} runs it now")
        }
        Reason::Blackout { .. } => {
            format!("wait, or dalsegno run {flow}: people are not stopped by blackouts")
        }
        Reason::Deadline { waiting_for } => match waiting_for.is_empty() {
            true => format!("dalsegno run {flow}"),
            false => format!(
                "see why {} did not come; dalsegno run {flow}",
                waiting_for.join(" and ")
            ),
        },
        Reason::ScheduleEnded { .. } => "move or remove `end` of the schedule".to_owned(),
        Reason::NoFutureDate => {
            "write a schedule whose days come: the 30th of February never does".to_owned()
        }
        Reason::NotPlanned { .. } => {
            "restart the daemon: it plans anew; and report this".to_owned()
        }
        Reason::FilterFalse { .. } => {
            format!(
                "nothing, if the filter is right; dalsegno events replay, after the change of `where` in {flow}"
            )
        }
        Reason::FilterFailed { .. } => {
            "repair the expression (has(…) asks whether a field is there), and replay the event"
                .to_owned()
        }
        Reason::FieldMissing { field, .. } => {
            format!("send `{field}`, or give the parameter a default, and replay the event")
        }
        Reason::WaitingFor { missing } => match missing.is_empty() {
            true => return None,
            false => format!(
                "{} must come; dalsegno run {flow} starts it without",
                missing.join(" and ")
            ),
        },
        Reason::SetReset { .. } | Reason::SetExpired { .. } => {
            "raise `within`, or replay the events once the others come".to_owned()
        }
        Reason::ReplacedByEvent { .. } => "`consume: each` keeps every event".to_owned(),
        Reason::OfBackfill { backfill } => {
            format!("dalsegno backfill show {backfill}; --downstream runs what follows, too")
        }
        Reason::TooManyWaiting { .. } => {
            format!("dalsegno events waiting {flow}; replay what was refused")
        }
        Reason::TriggerChanged => "replay the event: the trigger is another one now".to_owned(),
        Reason::NoTrigger => "give a flow a trigger of this type, and replay the event".to_owned(),
        Reason::PausedBy { .. } => "dalsegno backfill resume goes on".to_owned(),
        Reason::BackfillUpstream { flow } => {
            format!(
                "repair and resume the failed run of {flow}; while the backfill lasts it then goes on"
            )
        }
        Reason::RunUnreadable { .. } => {
            format!("dalsegno deploy {flow} anew, and plan what is missing")
        }
        Reason::TriggerGone { .. } => "plan anew with the flow as it is now".to_owned(),
        // They pass by themselves, or are as the flow asks for.
        Reason::RetryAt { .. }
        | Reason::WaitsForTask { .. }
        | Reason::WhenFalse { .. }
        | Reason::UpstreamSkipped { .. }
        | Reason::UpstreamFailed { .. }
        | Reason::NotChosen { .. }
        | Reason::OtherEnd { .. }
        | Reason::TaskNotReached { .. }
        | Reason::Coalesced { .. }
        | Reason::CoalescedByRoll { .. }
        | Reason::ScheduleChanged
        | Reason::PromiseRemoved
        | Reason::NeverStarted { .. }
        | Reason::Gathering { .. } => return None,
    })
}
