//! Metaflow's names of runs and tasks, worked out from rows: nobody stores them.

use super::MetaflowFlow;
use crate::id::TaskId;
use crate::row::{RunRow, TaskRow};
use crate::time::Timestamp;

/// Metaflow allows six attempts of a task, and so many retry counts are in an id that does not follow another.
const ATTEMPTS: u32 = 6;

/// An id that follows a full one begins with this retry count: 0 would run user code whatever
/// `--max-user-code-retries` says, and an attempt that is only for `@catch` must stay one.
const FIRST_OF_NEXT: u32 = 1;

/// The task id of `_parameters`, which `init` writes.
pub const PARAMETERS_TASK: &str = "params";

/// The path of what `init` wrote, as an input: `_parameters/params`.
pub const PARAMETERS: &str = "_parameters/params";

/// Metaflow's id of a run: `dalsegno-42-fxu6xa2rkw`, its number and the moment of its creation in
/// microseconds, base 36. A database that begins anew never meets the data of another.
pub fn run_id(run: &RunRow) -> String {
    run_id_of(run.id.0, run.created_at)
}

/// The same of a run of this flow, wherever it runs: `sfn-ds-9f3k2m1x-42-fxu6xa2rkw-g1` at Step Functions, after the
/// execution's name. A resumed run goes on with the execution that it began with.
pub fn run_id_in(flow: &MetaflowFlow, run: &RunRow) -> String {
    match &flow.executions {
        Some(prefix) => {
            let created = base36(run.created_at.0.unsigned_abs());
            format!("sfn-{prefix}{}-{created}-g1", run.id)
        }
        None => run_id(run),
    }
}

/// What a task of this flow is called, wherever it runs: at Step Functions it has its job's id, once there is a job.
pub fn task_id_in(flow: &MetaflowFlow, task: &TaskRow) -> Option<String> {
    match flow.executions {
        Some(_) => {
            let id = task.external_id.as_deref()?;
            id.split_once('#').map(|it| it.1.to_owned())
        }
        None => Some(task_id(task)),
    }
}

/// The same of the run that this one was made from.
pub fn origin_run_id(run: &RunRow) -> Option<String> {
    Some(run_id_of(run.origin?.0, run.origin_created_at?))
}

fn run_id_of(run: u64, created_at: Timestamp) -> String {
    format!("dalsegno-{run}-{}", base36(created_at.0.unsigned_abs()))
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.reverse();
    String::from_utf8(digits).expect("digits and letters")
}

/// What an attempt is called in Metaflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptName {
    /// `t` at the root, `t-3-0` in foreaches, `t-i2` for the third iteration of a step that went on to itself; with
    /// `a7` at its end when attempt 7 is the first under this id and not the first of all. Unique within its step.
    pub task_id: String,
    /// `--retry-count`, from 0 to 5.
    pub retry_count: u32,
}

/// What an attempt of a task is called. A life of a task begins when it is born, and again when a resume repeats it;
/// each life has an id of its own, and another one whenever Metaflow's six attempts are used up: the second and later
/// ids of a life hold five, for they begin with retry count 1. `None` for attempts of lives before the last two,
/// of which a row knows nothing any more.
pub fn attempt_name(task: &TaskRow, attempt: u32) -> Option<AttemptName> {
    let before = if attempt > task.attempts_before {
        task.attempts_before
    } else if attempt > task.attempts_before_that {
        task.attempts_before_that
    } else {
        return None;
    };
    Some(name(&task.task, before, attempt))
}

/// What the newest attempt of a task is called; of a task that has not been tried in this life, its next.
pub fn task_id(task: &TaskRow) -> String {
    newest(task).task_id
}

pub(crate) fn newest(task: &TaskRow) -> AttemptName {
    let attempt = task.attempt.max(task.attempts_before + 1);
    name(&task.task, task.attempts_before, attempt)
}

/// The id under which the task was tried before its present one: before its id was full, or in its life before.
pub fn earlier_task_id(task: &TaskRow) -> Option<String> {
    let attempt = task.attempt.max(task.attempts_before + 1);
    let first = first_of_id(task.attempts_before, attempt);
    let before = first.checked_sub(1).filter(|it| *it > 0)?;
    attempt_name(task, before).map(|it| it.task_id)
}

/// `--max-user-code-retries` of the newest attempt: attempts with higher retry counts run no user code, only `@catch`.
/// Counted so that attempts which were lost without their own fault cost the user nothing.
pub fn max_user_code_retries(task: &TaskRow, user_retries: u32) -> u32 {
    let allowed = newest(task).retry_count + user_retries;
    allowed.saturating_sub(task.retries.user)
}

/// The first attempt that has the same id as this one.
fn first_of_id(before: u32, attempt: u32) -> u32 {
    let place = attempt - before - 1;
    let first = match place.checked_sub(ATTEMPTS) {
        None => 0,
        Some(more) => ATTEMPTS + more / (ATTEMPTS - FIRST_OF_NEXT) * (ATTEMPTS - FIRST_OF_NEXT),
    };
    before + 1 + first
}

fn name(task: &TaskId, before: u32, attempt: u32) -> AttemptName {
    let first = first_of_id(before, attempt);
    let mut task_id = String::from("t");
    for index in task.path.as_slice() {
        task_id += &format!("-{index}");
    }
    if task.iteration > 0 {
        task_id += &format!("-i{}", task.iteration);
    }
    if first > 1 {
        task_id += &format!("-a{first}");
    }
    let base = if first == before + 1 {
        0
    } else {
        FIRST_OF_NEXT
    };
    AttemptName {
        task_id,
        retry_count: base + attempt - first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Retries, TaskState};

    fn task(id: &str, attempts_before: u32, attempt: u32) -> TaskRow {
        TaskRow {
            run: crate::RunId(1),
            task: id.parse().expect("a task id"),
            state: TaskState::Running,
            attempt,
            attempts_before,
            attempts_before_that: 0,
            retries: Retries::default(),
            reason: None,
            ready_at: Timestamp(0),
            submitted_at: None,
            started_at: None,
            finished_at: None,
            retry_at: None,
            deadline: None,
            external_id: None,
            log: None,
            array: None,
            memory_bytes: None,
            outputs: None,
            chosen: None,
            splits: None,
        }
    }

    fn told(id: &str, before: u32, attempt: u32) -> String {
        let it = newest(&task(id, before, attempt));
        format!("{} {}", it.task_id, it.retry_count)
    }

    #[test]
    fn an_id_tells_where_a_task_stands_and_is_never_a_number() {
        assert_eq!(told("train", 0, 1), "t 0");
        assert_eq!(told("train[3]", 0, 1), "t-3 0");
        assert_eq!(told("fit[3.0]@2", 0, 2), "t-3-0-i2 1");
        assert_eq!(base36(0), "0");
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36), "10");
    }

    #[test]
    fn a_seventh_attempt_gets_a_new_id() {
        let ids: Vec<String> = (1..=17).map(|it| told("a", 0, it)).collect();
        assert_eq!(&ids[..6], ["t 0", "t 1", "t 2", "t 3", "t 4", "t 5"]);
        let second = ["t-a7 1", "t-a7 2", "t-a7 3", "t-a7 4", "t-a7 5"];
        assert_eq!(&ids[6..11], second);
        assert_eq!(&ids[11..13], ["t-a12 1", "t-a12 2"]);
        assert_eq!(earlier_task_id(&task("a", 0, 6)), None);
        assert_eq!(earlier_task_id(&task("a", 0, 7)), Some("t".into()));
        assert_eq!(earlier_task_id(&task("a", 0, 12)), Some("t-a7".into()));
    }

    #[test]
    fn a_task_that_is_born_again_gets_a_new_id_and_knows_its_old_one() {
        assert_eq!(told("a", 2, 3), "t-a3 0");
        assert_eq!(told("a", 2, 4), "t-a3 1");
        assert_eq!(earlier_task_id(&task("a", 2, 3)), Some("t".into()));
        // Its earlier life had gone on to a second id.
        assert_eq!(earlier_task_id(&task("a", 8, 9)), Some("t-a7".into()));
        let third = TaskRow {
            attempts_before_that: 2,
            ..task("a", 5, 6)
        };
        assert_eq!(earlier_task_id(&third), Some("t-a3".into()));
        assert_eq!(attempt_name(&third, 2), None, "too long ago");
        // Not tried yet: what its first attempt will be.
        assert_eq!(told("a", 2, 2), "t-a3 0");
    }

    #[test]
    fn only_failures_of_its_own_use_up_the_users_retries() {
        let may = |attempt, user, retries| {
            let mut row = task("a", 0, attempt);
            row.retries = Retries {
                user,
                infrastructure: attempt - 1 - user,
                ..Retries::default()
            };
            let name = newest(&row);
            let most = max_user_code_retries(&row, retries);
            // What Metaflow makes of it: user code, its last try (in which @catch acts), or @catch alone.
            match name.retry_count.cmp(&most) {
                std::cmp::Ordering::Less => "user",
                std::cmp::Ordering::Equal => "last",
                std::cmp::Ordering::Greater => "catch",
            }
        };
        assert_eq!(may(1, 0, 2), "user");
        assert_eq!(may(2, 1, 2), "user");
        assert_eq!(may(3, 2, 2), "last");
        assert_eq!([may(4, 3, 2), may(5, 4, 2), may(6, 5, 2)], ["catch"; 3]);
        // Two of them were lost.
        assert_eq!(may(3, 0, 2), "user");
        assert_eq!(may(5, 2, 2), "last");
        assert_eq!(may(6, 3, 2), "catch");
        // Under a second id.
        assert_eq!(may(7, 0, 0), "last");
        assert_eq!(may(7, 1, 0), "catch");
        assert_eq!(may(8, 3, 1), "catch");
        assert_eq!(may(8, 0, 1), "user");
    }
}
