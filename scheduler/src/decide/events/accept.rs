//! Events come in: from outside, from ends of runs, and once more at someone's wish.

use super::super::Draft;
use super::leaf::Seen;
use crate::id::{FlowName, RunId};
use crate::input::{Answer, Input, NewEvent, Rejected, ReplayRequest};
use crate::row::{Claim, EXCERPT_BYTES_MAX, EventRow, RefusedRow};
use std::sync::Arc;

/// The most bytes of an event's source, id, type or subject, and of a request's key: they are keys of
/// the database, and PostgreSQL refuses index entries of more than about 2,700 bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The most bytes of one event's data, as JSON.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

impl Draft {
    pub(in crate::decide) fn accept_event(&mut self, event: NewEvent) -> Result<Answer, Rejected> {
        let subject = event.subject.as_deref().unwrap_or_default();
        for (what, text) in [
            ("the event's source", event.source.as_str()),
            ("the event's id", &event.id),
            ("the event's type", &event.kind),
            ("the event's subject", subject),
        ] {
            if text.len() > KEY_BYTES_MAX {
                return Err(Rejected::TooLarge(what, KEY_BYTES_MAX));
            }
        }
        if event.data.to_string().len() > EVENT_BYTES_MAX {
            return Err(Rejected::TooLarge("the event's data", EVENT_BYTES_MAX));
        }
        if event.kind.starts_with("dalsegno.") || event.source.starts_with("dalsegno:") {
            return Err(Rejected::ReservedEvent(event.kind));
        }
        let claim = Input::Event(event.clone()).claim();
        let before = self.s.last_run;
        let seq = self.take_event(event);
        Ok(self.answer_event(claim, before, seq))
    }

    /// An event is seen once more, as a new one with the same content.
    pub(in crate::decide) fn replay(&mut self, request: ReplayRequest) -> Result<Answer, Rejected> {
        super::super::runs::check_key(request.key.as_ref())?;
        if let Some(flow) = &request.flow {
            self.active_flow(flow)?;
        }
        let claim = Input::Replay(request.clone()).claim();
        let before = self.s.last_run;
        let old = &*request.event;
        let suffix = format!("~{}", self.s.last_event + 1);
        let room = KEY_BYTES_MAX.saturating_sub(suffix.len());
        let seq = self.record(
            EventRow {
                seq: 0,
                id: format!("{}{suffix}", beginning(&old.id, room)),
                received_at: self.now,
                replay_of: Some(old.seq),
                ..old.clone()
            },
            request.flow.as_ref(),
        );
        Ok(self.answer_event(claim, before, seq))
    }

    /// A delivery that is no event is on record, and nothing else follows from it.
    pub(in crate::decide) fn refuse(&mut self, row: RefusedRow) -> Result<Answer, Rejected> {
        for (what, text) in [
            ("the delivery's source", &row.source),
            ("the delivery's id", &row.id),
        ] {
            if text.len() > KEY_BYTES_MAX {
                return Err(Rejected::TooLarge(what, KEY_BYTES_MAX));
            }
        }
        let claim = Input::Refuse(row.clone()).claim();
        self.changes.claims.extend(claim.map(|key| Claim {
            key,
            result: format!("refused:{} {}", row.source, row.id),
        }));
        let excerpt = beginning(&row.excerpt, EXCERPT_BYTES_MAX).to_owned();
        self.changes.refused.push(RefusedRow { excerpt, ..row });
        Ok(Answer::Done)
    }

    fn answer_event(&mut self, claim: Option<String>, before: u64, seq: u64) -> Answer {
        self.changes.claims.extend(claim.map(|key| Claim {
            key,
            result: format!("event:{seq}"),
        }));
        Answer::Event {
            seq,
            runs: (before + 1..=self.s.last_run).map(RunId).collect(),
            duplicate: false,
        }
    }

    /// Records an event and lets every trigger that listens to it see it.
    pub(in crate::decide) fn take_event(&mut self, event: NewEvent) -> u64 {
        let row = EventRow {
            seq: 0,
            source: event.source,
            id: event.id,
            kind: event.kind,
            subject: event.subject,
            time: event.time.unwrap_or(self.now),
            data: Arc::new(event.data),
            received_at: self.now,
            replay_of: None,
        };
        self.record(row, None)
    }

    /// Gives an event its number and lets the triggers of all flows, or of one, see it.
    fn record(&mut self, event: EventRow, only: Option<&FlowName>) -> u64 {
        self.s.last_event += 1;
        let event = Arc::new(EventRow {
            seq: self.s.last_event,
            ..event
        });
        self.changes.events.push(event.clone());
        let mut listeners = self.s.listeners(&event);
        listeners.retain(|(flow, ..)| only.is_none_or(|it| it == flow));
        let seen = Seen::new(event);
        for leaves in listeners.chunk_by(|a, b| (&a.0, a.1) == (&b.0, b.1)) {
            let (flow, trigger, _) = &leaves[0];
            let leaves: Vec<u16> = leaves.iter().map(|(_, _, leaf)| *leaf).collect();
            self.offer(flow, usize::from(*trigger), &leaves, &seen);
        }
        seen.event.seq
    }
}

/// The first bytes of a text, cut where a character ends.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
