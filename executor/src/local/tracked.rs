//! The attempts a daemon waits for, and what becomes of the keeper's news of them.

use super::layout::Layout;
use super::outcome::outcome;
use crate::keeper::protocol::{End, Event, Key, Order, Request};
use crate::metaflow;
use dalsegno_engine::clock;
use dalsegno_scheduler::{AttemptId, Outcome, Report, Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long those that nobody wants any more have between the polite stop and the forced one.
const UNWANTED_GRACE_MS: u64 = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Tracked {
    attempts: BTreeMap<AttemptId, Waiting>,
    /// What [`Self::reconcile`] named and nobody has asked for yet; `None` before it.
    expected: Option<BTreeSet<AttemptId>>,
}

#[derive(Debug)]
struct Waiting {
    /// `None`: only watched, or only to be stopped.
    order: Option<Arc<Order>>,
    memory_bytes: Option<u64>,
    stop_grace: Option<Span>,
    is_reported: bool,
}

impl Tracked {
    /// Drops whatever is not named, from `known` too, and returns what to say of it to the keeper. That may be
    /// an end that became durable although the engine did not learn so before it read its state again.
    pub(crate) fn reconcile(
        &mut self,
        live: BTreeSet<AttemptId>,
        known: &mut Vec<Key>,
    ) -> Vec<Request> {
        let mut all: BTreeSet<Key> = known.iter().cloned().collect();
        all.extend(self.attempts.keys().map(|it| it.to_string().into()));
        self.attempts.retain(|it, _| live.contains(it));
        self.expected = Some(live);
        known.retain(|it| self.is_wanted(it));
        self.unwanted(all)
    }

    /// What to say to a keeper after connecting to it, other than the first time.
    pub(crate) fn ask_again(&mut self, known: &[Key]) -> Vec<Request> {
        let mut requests = self.unwanted(known.iter().cloned());
        for (id, waiting) in self.attempts.iter().filter(|(_, it)| !it.is_reported) {
            let attempt: Key = id.to_string().into();
            requests.push(match &waiting.order {
                // If the keeper before it had begun with it, this one knows that it is lost.
                Some(order) => Request::Submit(order.clone()),
                None => Request::Watch {
                    attempt: attempt.clone(),
                },
            });
            if let Some(grace) = waiting.stop_grace {
                requests.push(stop(attempt, grace));
            }
        }
        requests
    }

    /// Before the first [`Self::reconcile`] nobody knows.
    fn is_wanted(&self, key: &Key) -> bool {
        let Some(expected) = &self.expected else {
            return true;
        };
        key.parse::<AttemptId>()
            .is_ok_and(|it| expected.contains(&it) || self.attempts.contains_key(&it))
    }

    fn unwanted(&self, known: impl IntoIterator<Item = Key>) -> Vec<Request> {
        let unwanted: Vec<_> = known.into_iter().filter(|it| !self.is_wanted(it)).collect();
        let stops = unwanted.iter().cloned().map(|attempt| Request::Stop {
            attempt,
            grace_ms: UNWANTED_GRACE_MS,
        });
        let mut requests: Vec<_> = stops.collect();
        if !unwanted.is_empty() {
            requests.push(Request::Forget { attempts: unwanted });
        }
        requests
    }

    /// An attempt that somebody wants to end is never run, whichever was asked first: what to say to the keeper
    /// in place of its order.
    pub(crate) fn stop_again(&mut self, attempt: &AttemptId) -> Option<Request> {
        let grace = self.attempts.get(attempt)?.stop_grace?;
        Some(self.stop(attempt.clone(), grace))
    }

    pub(crate) fn submit(&mut self, attempt: AttemptId, order: Order) -> Request {
        let order = Arc::new(order);
        let waiting = Waiting {
            memory_bytes: order.memory_bytes,
            order: Some(order.clone()),
            stop_grace: None,
            is_reported: false,
        };
        self.expect(attempt, waiting);
        Request::Submit(order)
    }

    pub(crate) fn watch(&mut self, attempt: AttemptId, memory_bytes: Option<u64>) -> Request {
        let key = attempt.to_string().into();
        let waiting = Waiting {
            order: None,
            memory_bytes,
            stop_grace: None,
            is_reported: false,
        };
        self.expect(attempt, waiting);
        Request::Watch { attempt: key }
    }

    pub(crate) fn stop(&mut self, attempt: AttemptId, grace: Span) -> Request {
        let key = attempt.to_string().into();
        let waiting = self.attempts.entry(attempt).or_insert_with(|| Waiting {
            order: None,
            memory_bytes: None,
            stop_grace: None,
            is_reported: false,
        });
        waiting.stop_grace = Some(grace);
        waiting.is_reported = false;
        stop(key, grace)
    }

    pub(crate) fn forget(&mut self, attempts: &[AttemptId]) -> Request {
        for attempt in attempts {
            self.attempts.remove(attempt);
            if let Some(expected) = &mut self.expected {
                expected.remove(attempt);
            }
        }
        Request::Forget {
            attempts: attempts.iter().map(|it| it.to_string().into()).collect(),
        }
    }

    fn expect(&mut self, attempt: AttemptId, mut waiting: Waiting) {
        if let Some(expected) = &mut self.expected {
            expected.remove(&attempt);
        }
        waiting.stop_grace = self.attempts.get(&attempt).and_then(|it| it.stop_grace);
        self.attempts.insert(attempt, waiting);
    }

    /// What the engine has to be told of an event. `None`: nobody waits for it.
    pub(crate) fn hear(&mut self, event: Event) -> Option<(AttemptId, News)> {
        let (Event::Started { attempt, .. }
        | Event::Ended { attempt, .. }
        | Event::Missing { attempt }) = &event
        else {
            return None;
        };
        let id: AttemptId = attempt.parse().ok()?;
        let waiting = self.attempts.get_mut(&id).filter(|it| !it.is_reported)?;
        let news = match event {
            Event::Started { pid, at, .. } => {
                let external_id = format!("pid {pid}").into();
                return Some((id, News::Report(Report::Started { external_id, at })));
            }
            Event::Ended {
                end,
                started_at,
                at,
                outputs,
                ..
            } => News::Ended {
                end,
                memory_bytes: waiting.memory_bytes,
                outputs,
                started_at,
                at,
            },
            _ if waiting.stop_grace.is_some() => News::missing(Outcome::Stopped),
            _ => {
                let message = "the keeper on this machine does not know it";
                News::missing(Outcome::Lost(message.into()))
            }
        };
        waiting.is_reported = true;
        waiting.order = None;
        Some((id, news))
    }
}

/// Something to be reported.
#[derive(Debug)]
pub(crate) enum News {
    Report(Report),
    /// A process has ended; what that means may be in its output file.
    Ended {
        end: End,
        memory_bytes: Option<u64>,
        outputs: Vec<String>,
        started_at: Option<Timestamp>,
        at: Timestamp,
    },
}

impl News {
    fn missing(outcome: Outcome) -> Self {
        Self::Report(Report::Ended {
            outcome,
            started_at: None,
            at: clock::now(),
        })
    }

    /// Reads files, so nobody should wait for it.
    pub(crate) fn into_report(self, attempt: &AttemptId, layout: &Layout) -> Report {
        match self {
            Self::Report(report) => report,
            Self::Ended {
                end,
                memory_bytes,
                outputs,
                started_at,
                at,
            } => Report::Ended {
                outcome: metaflow::judge(&end, memory_bytes, attempt, layout).unwrap_or_else(
                    || outcome(end, memory_bytes, &layout.output_path(attempt), &outputs),
                ),
                started_at,
                at,
            },
        }
    }
}

fn stop(attempt: Key, grace: Span) -> Request {
    let grace_ms = u64::try_from(grace.as_micros() / 1_000).unwrap_or(0);
    Request::Stop { attempt, grace_ms }
}
