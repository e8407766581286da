//! What the end of a job means for its attempt: a table over what AWS says.

use crate::container::{EXIT_BRING, EXIT_FETCH, EXIT_NO_TOOL};
use crate::job::{Job, JobState};
use dalsegno_scheduler::{Outcome, Reason, Span};

/// The exit status by which a task says that it should not be tried again, as in Metaflow.
const DO_NOT_RETRY: i32 = 202;

/// What is to be known of the attempt for that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) timeout: Option<Span>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// It ran to its end, with this exit code: what that means may be in what it left.
    Exit(i32),
    Other(Outcome),
}

/// What happened, by the first line that fits.
#[derive(Clone, Copy)]
enum Kind {
    Lost,
    Timeout,
    Memory,
    Throttled,
    Network,
    Configuration,
    Capacity,
}

/// Parts of what AWS says, in lower case: all of a line must be there. More special lines stand before general ones.
const TABLE: &[(&[&str], Kind)] = &[
    (&["host ec2"], Kind::Lost),
    (&["spot task was interrupted"], Kind::Lost),
    (&["spot interruption"], Kind::Lost),
    (&["ecs agent", "disconnected"], Kind::Lost),
    (&["job attempt duration exceeded timeout"], Kind::Timeout),
    (&["outofmemory"], Kind::Memory),
    (&["toomanyrequests"], Kind::Throttled),
    (&["cannotpull", "rate limit"], Kind::Throttled),
    (&["rate exceeded"], Kind::Throttled),
    (&["throttlingexception"], Kind::Throttled),
    (&["cannotpull", "not found"], Kind::Configuration),
    (&["cannotpull", "does not exist"], Kind::Configuration),
    (&["cannotpull", "manifest unknown"], Kind::Configuration),
    (&["cannotpull", "no matching manifest"], Kind::Configuration),
    (
        &[
            "cannotpull",
            "does not contain descriptor matching platform",
        ],
        Kind::Configuration,
    ),
    (&["cannotpull", "denied"], Kind::Configuration),
    (&["cannotpull", "forbidden"], Kind::Configuration),
    (&["cannotpull", "unauthorized"], Kind::Configuration),
    (&["cannotpull", "invalid reference"], Kind::Configuration),
    (&["cannotpull"], Kind::Network),
    (
        &["resourceinitializationerror", "accessdenied"],
        Kind::Configuration,
    ),
    (
        &["resourceinitializationerror", "not authorized"],
        Kind::Configuration,
    ),
    (
        &["resourceinitializationerror", "resourcenotfound"],
        Kind::Configuration,
    ),
    (
        &["resourceinitializationerror", "invalid"],
        Kind::Configuration,
    ),
    (&["resourceinitializationerror"], Kind::Network),
    (&["dockertimeouterror"], Kind::Network),
    (&["containerruntimetimeouterror"], Kind::Network),
    (&["internalerror"], Kind::Network),
    (&["network interface provisioning"], Kind::Network),
    (&["no space left on device"], Kind::Lost),
    (&["cannotstartcontainererror"], Kind::Configuration),
    (&["cannotcreatecontainererror"], Kind::Configuration),
    (&["cannotcreatevolumeerror"], Kind::Configuration),
    (&["containerruntimeerror"], Kind::Network),
    (&["misconfiguration:"], Kind::Configuration),
    (&["capacity is unavailable"], Kind::Capacity),
    (&["capacity:"], Kind::Capacity),
];

/// What the end of a job means that nobody asked for.
pub(crate) fn judge(job: &Job, asked: Asked) -> End {
    if job.state == JobState::Succeeded {
        return End::Exit(0);
    }
    let said = words(job);
    let low = said.to_lowercase();
    let line = TABLE
        .iter()
        .find(|(parts, _)| parts.iter().all(|it| low.contains(it)));
    let message = || said.clone();
    if let Some((_, kind)) = line {
        return End::Other(match kind {
            Kind::Lost if job.tries > 1 => Outcome::HostsLost {
                message: said,
                times: job.tries,
            },
            Kind::Lost => Outcome::Lost(said),
            Kind::Timeout => Outcome::Failed(match asked.timeout {
                Some(timeout) => Reason::AttemptTimeout { timeout },
                None => Reason::Job {
                    message: said,
                    exit: job.exit,
                },
            }),
            Kind::Memory => Outcome::Failed(Reason::OutOfMemory {
                limit_bytes: asked.memory_bytes,
            }),
            Kind::Throttled => Outcome::Failed(Reason::Throttled { message: message() }),
            Kind::Network => Outcome::Failed(Reason::Network { message: message() }),
            Kind::Configuration => Outcome::Failed(Reason::Configuration { message: message() }),
            Kind::Capacity => Outcome::Failed(Reason::Capacity { message: message() }),
        });
    }
    match job.exit {
        Some(exit) if exit != 0 => End::Exit(exit),
        exit => End::Other(Outcome::Failed(Reason::Job {
            message: match said.is_empty() {
                true => "the job failed, and AWS does not say why".into(),
                false => said,
            },
            exit,
        })),
    }
}

/// What an exit code means that is not 0. `is_wrapped`: our script was around the command.
pub(crate) fn exit(status: i32, is_wrapped: bool) -> Reason {
    match status {
        EXIT_NO_TOOL if is_wrapped => Reason::Configuration {
            message: "its image has neither the AWS CLI (aws) nor python3 with boto3, which fetch and bring back what \
                      the task needs; add one of them to the image"
                .into(),
        },
        EXIT_FETCH if is_wrapped => Reason::Network {
            message: "the container could not fetch what the task needs; its log has more".into(),
        },
        EXIT_BRING if is_wrapped => Reason::Network {
            message: "the container could not bring back the outputs; its log has more".into(),
        },
        DO_NOT_RETRY => Reason::DoNotRetry { status },
        129..=192 => Reason::Signal {
            signal: status - 128,
        },
        status => Reason::Exit { status },
    }
}

/// All that AWS says of the end, once.
fn words(job: &Job) -> String {
    match (job.status_reason.trim(), job.reason.trim()) {
        ("", said) | (said, "") => said.to_owned(),
        (one, two) if one == two => one.to_owned(),
        (one, two) => format!("{one}: {two}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status_reason: &str, reason: &str, exit: Option<i32>) -> Job {
        Job {
            id: "a".into(),
            name: "a".into(),
            queue: "cpu".into(),
            state: JobState::Failed,
            status_reason: status_reason.into(),
            reason: reason.into(),
            exit,
            created_at: None,
            started_at: None,
            stopped_at: None,
            tries: 1,
            tried_until: None,
            log: None,
            tags: Default::default(),
            is_terminated: false,
            is_of_execution: false,
            size: None,
            summary: Default::default(),
        }
    }

    #[test]
    fn each_host_that_went_away_counts() {
        let mut job = failed("Host EC2 (instance i-0a1b2c) terminated.", "", None);
        job.tries = 3;
        match judge(&job, Asked::default()) {
            End::Other(Outcome::HostsLost { times: 3, message }) => {
                assert!(message.contains("i-0a1b2c"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Messages as AWS writes them, from its troubleshooting pages.
    #[test]
    fn every_message_has_its_class() {
        let asked = Asked {
            memory_bytes: Some(1 << 30),
            timeout: Some(Span::from_secs(90)),
        };
        let task = "Task failed to start";
        let end = "Essential container in task exited";
        let corpus: &[(&str, &str, Option<i32>, &str)] = &[
            ("Host EC2 (instance i-0a1b2c) terminated.", "", None, "lost"),
            (
                "Host EC2 (instance i-0a1b2c) stopped.",
                "",
                Some(137),
                "lost",
            ),
            ("Your Spot Task was interrupted.", "", None, "lost"),
            (
                "Job attempt duration exceeded timeout",
                "",
                Some(137),
                "timeout",
            ),
            (
                end,
                "OutOfMemoryError: Container killed due to memory usage",
                Some(137),
                "memory",
            ),
            (
                "OutOfMemoryError: Container killed due to memory usage",
                "",
                None,
                "memory",
            ),
            (
                task,
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref \
                    docker.io/library/nope:1: not found",
                None,
                "configuration",
            ),
            (
                task,
                "CannotPullContainerError: Error response from daemon: manifest for a:b not found: manifest unknown",
                None,
                "configuration",
            ),
            (
                task,
                "CannotPullContainerError: pull access denied for a, repository does not exist or may require \
                    'docker login'",
                None,
                "configuration",
            ),
            (
                task,
                "CannotPullContainerError: ref pull has been retried 5 time(s): failed to copy: httpReadSeeker: \
                    failed open: unexpected status code 403 Forbidden",
                None,
                "configuration",
            ),
            (
                task,
                "CannotPullContainerError: Error response from daemon: Get https://a/v2/: net/http: request canceled \
                    while waiting for connection (Client.Timeout exceeded)",
                None,
                "network",
            ),
            (
                task,
                "CannotPullContainerError: toomanyrequests: You have reached your pull rate limit.",
                None,
                "throttled",
            ),
            (
                task,
                "CannotPullECRContainerError: AccessDeniedException: User is not authorized to perform: \
                    ecr:GetAuthorizationToken",
                None,
                "configuration",
            ),
            (
                task,
                "CannotStartContainerError: Error response from daemon: OCI runtime create failed: exec: \"nope\": \
                    executable file not found in $PATH: unknown",
                Some(127),
                "configuration",
            ),
            (
                task,
                "CannotCreateContainerError: mount denied",
                None,
                "configuration",
            ),
            (
                task,
                "CannotCreateContainerError: Error response from daemon: no space left on device",
                None,
                "lost",
            ),
            (
                task,
                "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s",
                None,
                "network",
            ),
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: \
              context deadline exceeded",
                "",
                None,
                "network",
            ),
            (
                "ResourceInitializationError: unable to pull secrets or registry auth: AccessDeniedException: no \
              identity-based policy allows it",
                "",
                None,
                "configuration",
            ),
            (
                "Timeout waiting for network interface provisioning to complete.",
                "",
                None,
                "network",
            ),
            (
                "Capacity is unavailable at this time. Please try again later or in a different availability zone",
                "",
                None,
                "capacity",
            ),
            (
                "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than \
              that can be met by the CE(s) attached to the job queue.",
                "",
                None,
                "configuration",
            ),
            (end, "", Some(3), "exit 3"),
            (end, "", Some(137), "exit 137"),
            ("Dependent Job failed", "", None, "job"),
            ("", "", None, "job"),
        ];
        for (status, reason, exit, expected) in corpus {
            let said = match judge(&failed(status, reason, *exit), asked) {
                End::Exit(status) => format!("exit {status}"),
                End::Other(Outcome::Lost(_)) => "lost".into(),
                End::Other(Outcome::Failed(reason)) => match reason {
                    Reason::AttemptTimeout { .. } => "timeout",
                    Reason::OutOfMemory {
                        limit_bytes: Some(_),
                    } => "memory",
                    Reason::Throttled { .. } => "throttled",
                    Reason::Network { .. } => "network",
                    Reason::Configuration { .. } => "configuration",
                    Reason::Capacity { .. } => "capacity",
                    Reason::Job { .. } => "job",
                    _ => "something else",
                }
                .into(),
                End::Other(other) => format!("{other:?}"),
            };
            assert_eq!(said, *expected, "{status} / {reason}");
        }
    }

    #[test]
    fn an_exit_code_means_what_it_means_on_this_machine() {
        assert_eq!(exit(3, true), Reason::Exit { status: 3 });
        assert_eq!(exit(202, false), Reason::DoNotRetry { status: 202 });
        assert_eq!(exit(137, false), Reason::Signal { signal: 9 });
        assert_eq!(exit(213, false), Reason::Exit { status: 213 });
        assert!(matches!(exit(213, true), Reason::Network { .. }));
        assert!(matches!(exit(212, true), Reason::Configuration { .. }));
    }
}
