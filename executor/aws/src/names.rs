//! What things of ours are called at AWS. A name says whose it is, and only one attempt can have it.

use dalsegno_scheduler::{ArrayPlace, AttemptId, FlowName, RunId, TaskId, Timestamp};
use sha2::{Digest, Sha256};

/// How much of a step's or flow's name is in a name, in characters.
const WORD_MAX: usize = 40;

/// What all names of an installation begin with: `ds-{installation}-`.
pub fn prefix(installation: &str) -> String {
    format!("ds-{installation}-")
}

/// What all names of a run begin with.
pub fn run_prefix(installation: &str, run: RunId, created: Timestamp) -> String {
    format!("ds-{installation}-{run}-{}-", base36(created))
}

/// The job of one attempt: lower case only, for Batch looks jobs up without regard to case, and never longer than 128.
pub fn job(installation: &str, attempt: &AttemptId, created: Timestamp) -> String {
    let step = clean(attempt.task.step.as_str());
    let task = task_hash(&attempt.task);
    let prefix = run_prefix(installation, attempt.run, created);
    format!("{prefix}{task}-{step}-{}", attempt.number)
}

/// The one job of many attempts.
pub fn array(installation: &str, place: &ArrayPlace, created: Timestamp) -> String {
    let first = job(installation, &place.first, created);
    format!("{first}-x{}", place.size)
}

/// The execution of a run, of at most 80 characters.
pub fn execution(installation: &str, run: RunId, created: Timestamp, generation: u32) -> String {
    let prefix = run_prefix(installation, run, created);
    format!("{prefix}g{generation}")
}

/// A job definition, by its canonical JSON.
pub fn definition(installation: &str, canonical: &str) -> String {
    format!("ds-{installation}-{}", hash(canonical))
}

pub fn state_machine(installation: &str, flow: &FlowName) -> String {
    format!("ds-{installation}-{}", clean(flow.as_str()))
}

/// Stands for a task where its name could be too long or have other characters: 16 hex digits.
pub fn task_hash(task: &TaskId) -> String {
    hash(&task.to_string())
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest[..8].iter().map(|it| format!("{it:02x}")).collect()
}

fn clean(name: &str) -> String {
    let word = name.chars().take(WORD_MAX);
    word.map(|it| match it.to_ascii_lowercase() {
        it @ ('a'..='z' | '0'..='9' | '_' | '-') => it,
        _ => '-',
    })
    .collect()
}

/// Microseconds since 1970.
pub(crate) fn base36(time: Timestamp) -> String {
    let mut left = time.0.max(0);
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(left % 36).unwrap_or(0);
        digits.push(char::from_digit(digit, 36).unwrap_or('0'));
        left /= 36;
        if left == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn attempt(text: &str) -> AttemptId {
        text.parse().expect("an attempt")
    }

    const CREATED: Timestamp = Timestamp(1_795_000_000_000_000);

    #[test]
    fn a_name_tells_whose_job_it_is() {
        let name = |text: &str| job("abcd1234", &attempt(text), CREATED);
        assert_eq!(
            name("12/Train_Model.v2[3]/2"),
            "ds-abcd1234-12-ho9vm6h1j4-c71cf11f199e2149-train_model-v2-2"
        );
        let place = ArrayPlace {
            first: attempt("12/fit[0]/1"),
            index: 7,
            size: 25,
        };
        assert!(array("abcd1234", &place, CREATED).ends_with("-fit-1-x25"));
        assert_eq!(
            execution("abcd1234", RunId(12), CREATED, 3),
            "ds-abcd1234-12-ho9vm6h1j4-g3"
        );
        assert_eq!(
            state_machine("abcd1234", &"Daily.Sales".into()),
            "ds-abcd1234-daily-sales"
        );
        assert!(definition("abcd1234", "{}").starts_with(&prefix("abcd1234")));
    }

    #[test]
    fn names_of_different_attempts_differ_where_case_does_not_count() {
        let all = [
            "1/a/1", "1/A/1", "1/a/2", "1/a[1]/1", "1/a@1/1", "11/a/1", "1/a-1/1",
        ];
        let names = all.map(|it| job("abcd1234", &attempt(it), CREATED));
        let names: BTreeSet<_> = names.iter().map(|it| it.to_lowercase()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn the_longest_names_fit() {
        let longest = format!(
            "{}/{}[4294967295.1.2.3]@9/{}",
            u64::MAX,
            "S".repeat(128),
            u32::MAX
        );
        let place = ArrayPlace {
            first: attempt(&longest),
            index: 0,
            size: 10_000,
        };
        let latest = Timestamp(i64::MAX);
        assert!(array("abcd1234", &place, latest).len() < 128);
        assert!(execution("abcd1234", RunId(u64::MAX), latest, u32::MAX).len() <= 80);
    }
}
