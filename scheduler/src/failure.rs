//! Classes of failures: who pays for a retry, how often, and after what wait.

use crate::hash;
use crate::id::AttemptId;
use crate::reason::Reason;
use crate::spec::{Backoff, ExecutorKind};
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::LazyLock;

/// Why an attempt failed, as far as it matters for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The network, or a service that answers with an error of its own (5xx).
    Network,
    /// A service asks to be called less often.
    Throttled,
    /// There is no machine for it now.
    Capacity,
    /// It cannot work as it is: repeating it changes nothing.
    Invalid,
    /// The task's own fault; what `retry` of the step is for.
    User,
    /// It ran out of memory.
    Oom,
    /// Its host or keeper went away.
    Lost,
}

impl FailureClass {
    pub const ALL: [Self; 7] = [
        Self::Network,
        Self::Throttled,
        Self::Capacity,
        Self::Invalid,
        Self::User,
        Self::Oom,
        Self::Lost,
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Throttled => "throttled",
            Self::Capacity => "capacity",
            Self::Invalid => "invalid",
            Self::User => "user",
            Self::Oom => "oom",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which failures belong to which class: the first rule that fits decides. The operator's own come before
/// [`built_in`] ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Stored with each attempt that it decides.
    pub name: String,
    pub class: FailureClass,
    /// Only of steps that run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorKind>,
    /// Stable codes of reasons, such as `user_error`; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// Exit codes; empty: any, and also none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exit: Vec<i32>,
    /// Patterns of which one fits the whole text of the reason, in any case; `*` stands for anything. Empty: any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
}

impl Rule {
    /// What is wrong with it, if anything: such a rule would never fit.
    ///
    /// # Errors
    /// With a sentence that names the rule.
    pub fn check(&self) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err(
                "a rule needs a name: it is shown with each attempt that it decides".into(),
            );
        }
        // Reading a reason tells an unknown code from one that lacks its fields.
        let unknown = |code: &&String| {
            let reason = serde_json::json!({ "code": code });
            let read = serde_json::from_value::<Reason>(reason);
            read.is_err_and(|error| error.to_string().starts_with("unknown variant"))
        };
        match self.code.iter().find(unknown) {
            Some(code) => Err(format!(
                "rule `{}`: `{code}` is no code of a reason; docs/why.md lists them",
                self.name
            )),
            None => Ok(()),
        }
    }

    fn fits(&self, reason: &Seen) -> bool {
        self.executor.is_none_or(|it| it == reason.executor)
            && (self.code.is_empty() || self.code.contains(&reason.code))
            && (self.exit.is_empty() || reason.exit.is_some_and(|it| self.exit.contains(&it)))
            && (self.text.is_empty() || self.text.iter().any(|it| like(it, &reason.text)))
    }
}

/// What rules look at.
struct Seen {
    executor: ExecutorKind,
    code: String,
    exit: Option<i32>,
    /// In lower case.
    text: String,
}

/// The class of a failure and the rule that says so.
pub fn classify(rules: &[Rule], reason: &Reason, executor: ExecutorKind) -> (FailureClass, String) {
    let seen = Seen {
        executor,
        code: reason.code(),
        exit: match reason {
            Reason::Exit { status } | Reason::DoNotRetry { status } => Some(*status),
            Reason::Job { exit, .. } => *exit,
            _ => None,
        },
        text: reason.to_string().to_lowercase(),
    };
    let mut rules = rules.iter().chain(built_in());
    let rule = rules.find(|it| it.fits(&seen));
    let rule = rule.expect("the last rule fits whatever comes");
    (rule.class, rule.name.clone())
}

/// The rules that come after the operator's own. What an executor knows for certain comes first; then known texts of
/// what tasks say themselves; whatever is left is the task's own fault.
pub fn built_in() -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        use FailureClass::{Capacity, Invalid, Lost, Network, Oom, Throttled, User};
        let rule = |name: &str, class, code: &[&str], text: &[&str]| Rule {
            name: name.to_owned(),
            class,
            executor: None,
            code: code.iter().map(|it| (*it).to_owned()).collect(),
            exit: Vec::new(),
            text: text.iter().map(|it| (*it).to_owned()).collect(),
        };
        vec![
            rule("lost", Lost, &["lost"], &[]),
            rule("network", Network, &["network"], &[]),
            rule("throttled", Throttled, &["throttled"], &[]),
            rule("capacity", Capacity, &["capacity"], &[]),
            rule("out of memory", Oom, &["out_of_memory"], &[]),
            rule("invalid", Invalid, INVALID, &[]),
            rule("timeout", User, &["attempt_timeout"], &[]),
            Rule {
                exit: vec![137],
                ..rule("killed for memory", Oom, &["job"], OUT_OF_MEMORY)
            },
            rule(
                "execution out of memory",
                Oom,
                &["execution"],
                OUT_OF_MEMORY,
            ),
            rule("says throttled", Throttled, TOLD, SAYS_THROTTLED),
            rule("says network", Network, TOLD, SAYS_NETWORK),
            rule("user", User, &[], &[]),
        ]
    });
    &RULES
}

const INVALID: &[&str] = &[
    "configuration",
    "bad_params",
    "do_not_retry",
    "expression",
    "sub_flow_depth",
];
/// Reasons with a text that somebody else wrote. A bare exit code says nothing and stays the user's.
const TOLD: &[&str] = &["user_error", "job", "execution"];
const OUT_OF_MEMORY: &[&str] = &["*outofmemory*", "*out of memory*", "*oomkilled*"];
const SAYS_THROTTLED: &[&str] = &[
    "*throttlingexception*",
    "*throttledexception*",
    "*provisionedthroughputexceeded*",
    "*requestlimitexceeded*",
    "*toomanyrequests*",
    "*too many requests*",
    "*slowdown*",
    "*please reduce your request rate*",
    "*rate exceeded*",
];
const SAYS_NETWORK: &[&str] = &[
    "*connection reset*",
    // Metaflow's own words for a metadata service that it gave up.
    "*metadata request (*) failed",
    "*metadata request (*) failed (code 5*",
    "*connection refused*",
    "*connection aborted*",
    "*connection timed out*",
    "*timed out connecting*",
    "*connect timeout*",
    "*read timed out*",
    "*could not connect to the endpoint*",
    "*temporary failure in name resolution*",
    "*network is unreachable*",
    "*no route to host*",
    "*broken pipe*",
    "*service unavailable*",
    "*bad gateway*",
    "*gateway timeout*",
];

/// Whether a pattern with `*` fits all of a text that is in lower case.
fn like(pattern: &str, text: &str) -> bool {
    let pattern = pattern.to_lowercase();
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

/// How often attempts are repeated for each class that is not the user's: [`Config::lost_retries`] is for those that were
/// lost, and what is invalid is never repeated.
///
/// [`Config::lost_retries`]: crate::Config::lost_retries
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budgets {
    pub network: Budget,
    pub throttled: Budget,
    pub capacity: Budget,
    /// Only of steps that may grow, see [`crate::spec::OnOom`].
    pub oom: Budget,
}

impl Default for Budgets {
    /// Network 5, throttled 10, capacity 3 after 5, 10 and 15 min, out of memory 2 at once.
    fn default() -> Self {
        let wait = Wait::Exponential(Backoff::default());
        let budget = |retries, wait| Budget { retries, wait };
        Self {
            network: budget(5, wait),
            throttled: budget(10, wait),
            capacity: budget(3, Wait::Linear(Span::from_mins(5))),
            oom: budget(2, Wait::Linear(Span::ZERO)),
        }
    }
}

/// How often, and after what wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub retries: u32,
    pub wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    Exponential(Backoff),
    /// So long before the first, twice as long before the second …
    Linear(Span),
}

impl Wait {
    /// The wait before retry `number` (from 1) of an attempt.
    pub fn before(&self, number: u32, attempt: &AttemptId) -> Span {
        match self {
            Self::Exponential(backoff) => delay(backoff, number, attempt),
            Self::Linear(step) => Span(step.0.saturating_mul(i64::from(number))),
        }
    }
}

/// The wait before a lost attempt is repeated on our own account: 1 s doubling to 300 s.
pub(crate) const LOST_BACKOFF: Backoff = Backoff {
    initial: Span::from_secs(1),
    max: Span::from_secs(300),
    multiplier_percent: 200,
    jitter_percent: 10,
};

/// The wait before retry `number` (from 1). Jitter is a hash of the attempt, so a replay agrees.
pub fn delay(backoff: &Backoff, number: u32, attempt: &AttemptId) -> Span {
    let max = i128::from(backoff.max.0.max(0));
    let mut wait = i128::from(backoff.initial.0.max(0)).min(max);
    for _ in 1..number {
        wait = (wait * i128::from(backoff.multiplier_percent) / 100).min(max);
        if wait == max {
            break;
        }
    }
    let swing = wait * i128::from(backoff.jitter_percent.min(100)) / 100;
    let share = i128::from(hash::fnv(&attempt.to_string()) % 2_001) - 1_000;
    let wait = (wait + swing * share / 1_000).clamp(0, max);
    Span(i64::try_from(wait).unwrap_or(i64::MAX))
}

/// Longer waits that a service asks for are not believed.
const RETRY_AFTER_MAX: Span = Span::from_mins(60);

/// What a service that throttles asks for, if its text says so: `Retry-After: 30`, in seconds.
pub fn retry_after(reason: &Reason) -> Option<Span> {
    let text = reason.to_string().to_lowercase();
    let (_, after) = text.split_once("retry-after")?;
    let after = after.trim_start_matches([':', '=', ' ', '"', '\'']);
    let end = after.find(|it: char| !it.is_ascii_digit());
    let secs: i64 = after[..end.unwrap_or(after.len())].parse().ok()?;
    Some(Span::from_secs(secs.min(3_600)).min(RETRY_AFTER_MAX))
}
