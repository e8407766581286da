//! The loop that receives the messages of one queue, has them decided, and only then deletes them.

use super::body::{self, Message};
use super::clock::{self, Times};
use super::fault;
use super::queue::{Facts, LONG_POLL, QueueConfig, client, facts};
use crate::asking::{self, Unanswered};
use crate::backoff::Backoff;
use crate::base64;
use crate::status::{Condition, Source, SourceKind, SourceState, Sources};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message as Sqs,
    MessageAttributeValue, MessageSystemAttributeName as System,
};
use dalsegno_engine::EngineHandle;
use dalsegno_scheduler::{Answer, Input, Timestamp};
use futures_util::future::join_all;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The most that SQS gives at once.
const BATCH: i32 = 10;

/// Between tries of a queue that cannot be read.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Its attributes may be changed while we run.
const FACTS_AGE_MAX: Duration = Duration::from_secs(300);

/// A message that cannot be read and has nowhere to go is looked at again this late, so that it does not fill the batches.
const UNREADABLE_HIDDEN: Duration = Duration::from_secs(900);

/// Tries of deleting; what is left over comes again and is recognised.
const DELETE_TRIES: u32 = 3;

/// Receives until it is told to stop; then finishes what is in hand.
pub async fn run(
    config: QueueConfig,
    engine: EngineHandle,
    sources: Sources,
    stop: CancellationToken,
) {
    let source = sources.register(SourceKind::Queue, &config.name, &config.url, engine.now());
    let receivers = usize::from(config.receivers.max(1));
    let queue = Arc::new(Queue {
        client: client(&config).await,
        config,
        engine,
        source,
        stop,
        trouble: Mutex::default(),
    });
    let hands = Arc::new(Semaphore::new(receivers));
    queue.receive(&hands).await;
    // All of them: nothing is in hand any more.
    let all = u32::try_from(receivers).unwrap_or(u32::MAX);
    let _ = hands.acquire_many(all).await;
}

struct Queue {
    config: QueueConfig,
    client: Client,
    engine: EngineHandle,
    source: Source,
    stop: CancellationToken,
    trouble: Mutex<Trouble>,
}

/// What stands in the way, each by itself.
#[derive(Debug, Default)]
struct Trouble {
    /// Of the last request for messages.
    receiving: Option<Condition>,
    /// Messages that the engine cannot decide at the moment, and why.
    held: usize,
    why_held: String,
    /// Messages that cannot be read and stay in the queue, and until when each is remembered.
    unreadable: BTreeMap<String, Instant>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delete,
    /// Somebody else may have it at once.
    Release,
    /// It stays in the queue, hidden for this long.
    Keep(Duration),
    /// It stays, and comes again when its visibility timeout is over.
    Leave,
}

impl Queue {
    async fn receive(self: &Arc<Self>, hands: &Arc<Semaphore>) {
        let mut backoff = Backoff::new(WAIT, WAIT_MAX);
        let mut known: Option<(Arc<Facts>, Instant)> = None;
        while self.lead().await {
            let fresh = known
                .as_ref()
                .filter(|(_, at)| at.elapsed() < FACTS_AGE_MAX);
            let received = match fresh {
                Some((facts, _)) => self.messages(facts.clone(), hands).await,
                None => self.look().await.map(|facts| {
                    known = Some((facts, Instant::now()));
                    // Nothing was received yet.
                    false
                }),
            };
            match received {
                Ok(answered) => {
                    if answered {
                        backoff.reset();
                        self.tell(|it| it.receiving = None);
                    }
                }
                Err(condition) => {
                    // Whatever it is, the queue may be another one when it is over.
                    known = None;
                    self.source.count(|it| it.errors += 1);
                    self.tell(|it| it.receiving = Some(condition));
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next()) => {}
                        () = self.stop.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Waits until this instance is in charge; false when it is to stop.
    async fn lead(&self) -> bool {
        if self.engine.role() != dalsegno_engine::Role::Leader && !self.stop.is_cancelled() {
            let standby = Condition::with(
                SourceState::Standby,
                "another instance is in charge and reads it",
            );
            if self.engine.role() != dalsegno_engine::Role::Starting {
                self.source.set(standby, self.engine.now());
            }
        }
        asking::leads(&self.engine, &self.stop).await
    }

    async fn look(&self) -> Result<Arc<Facts>, Condition> {
        let facts = tokio::select! {
            facts = facts(&self.client, &self.config) => facts?,
            () = self.stop.cancelled() => return Err(Condition::new(self.source.state())),
        };
        self.source.note("attributes", facts.remark.clone());
        Ok(Arc::new(facts))
    }

    /// One request for messages. Gives whether it was answered.
    async fn messages(
        self: &Arc<Self>,
        facts: Arc<Facts>,
        hands: &Arc<Semaphore>,
    ) -> Result<bool, Condition> {
        let hand = tokio::select! {
            hand = hands.clone().acquire_owned() => hand.expect("nobody closes it"),
            () = self.stop.cancelled() => return Ok(false),
            () = asking::leads_no_more(&self.engine) => return Ok(false),
        };
        let request = self
            .client
            .receive_message()
            .queue_url(&self.config.url)
            .max_number_of_messages(BATCH)
            .wait_time_seconds(self.patience())
            .visibility_timeout(facts.visibility.as_secs() as i32)
            .message_system_attribute_names(System::All)
            .message_attribute_names("All")
            // Our own waits are longer, and the state is told at once.
            .customize()
            .config_override(
                aws_sdk_sqs::config::Builder::new()
                    .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled()),
            );
        let received = tokio::select! {
            received = request.send() => received,
            // What was on its way to us comes again when its visibility timeout is over.
            () = self.stop.cancelled() => return Ok(false),
            () = asking::leads_no_more(&self.engine) => return Ok(false),
        };
        let messages = received
            .map_err(|error| fault::condition("ReceiveMessage", &error))?
            .messages
            .unwrap_or_default();
        if !messages.is_empty() {
            let queue = self.clone();
            tokio::spawn(async move {
                queue.handle(&messages, &facts).await;
                drop(hand);
            });
        }
        Ok(true)
    }

    /// How long a request may wait for messages, in seconds: not at all while it is not known whether all is well, so
    /// that this is told at once.
    fn patience(&self) -> i32 {
        match self.source.state() {
            SourceState::Ok | SourceState::Held => LONG_POLL.as_secs() as i32,
            _ => 0,
        }
    }

    /// Decides a batch and does with each message what is to be done. Until then all of it stays hidden.
    async fn handle(&self, messages: &[Sqs], facts: &Facts) {
        self.source
            .count(|it| it.deliveries += messages.len() as u64);
        self.compare_clocks(messages);
        let decided = async {
            let fates = if self.config.url.ends_with(".fifo") {
                let mut fates = Vec::with_capacity(messages.len());
                // One after the other: the order within a group is its sender's.
                for message in messages {
                    fates.push(self.decide(message, facts).await);
                }
                fates
            } else {
                join_all(messages.iter().map(|it| self.decide(it, facts))).await
            };
            self.carry_out(messages, &fates).await;
        };
        tokio::select! {
            () = decided => {}
            () = self.keep_hidden(messages, facts.visibility) => {}
        }
    }

    fn compare_clocks(&self, messages: &[Sqs]) {
        let now = self.engine.now();
        let times = messages.iter().filter_map(Sqs::attributes).map(|it| {
            let millis = |name: &System| {
                let millis: Option<i64> = it.get(name).and_then(|it| it.parse().ok());
                millis.map(|it| Timestamp(it.saturating_mul(1_000)))
            };
            let count = it.get(&System::ApproximateReceiveCount);
            Times {
                sent_at: millis(&System::SentTimestamp),
                first_received_at: millis(&System::ApproximateFirstReceiveTimestamp),
                is_first_receipt: count.is_some_and(|it| it == "1"),
            }
        });
        let remark = times
            .map(|it| clock::disagreement(now, it))
            .find(Option::is_some);
        self.source.note("clock", remark.flatten());
    }

    /// Gives the engine what a message says. It may be deleted only when all of it is durable.
    async fn decide(&self, message: &Sqs, facts: &Facts) -> Fate {
        let read = body::read(&self.config.name, &said(message), &self.config.mappings);
        let reading = match read {
            Ok(reading) => reading,
            Err(reason) => return self.refuse(message, &reason, facts).await,
        };
        if let Some(remark) = reading.remarks.into_iter().next() {
            self.source.note("mapping", Some(remark));
        }
        let passed = reading.passed_over.len() as u64;
        self.source.count(|it| it.passed_over += passed);
        if let Some(what) = reading
            .passed_over
            .last()
            .filter(|it| *it != "s3:TestEvent")
        {
            let text = format!("messages such as {what} are no arrivals and are passed over");
            self.source.note("passed_over", Some(text));
        }
        let asked = reading.events.into_iter().map(|event| {
            let id = event.id.clone();
            async move { (id, self.ask(Input::Event(event)).await) }
        });
        let mut rejected = (!reading.bad.is_empty()).then(|| reading.bad.join("; "));
        for (id, answered) in join_all(asked).await {
            match answered {
                Ok(answer) => {
                    let duplicate = matches!(
                        answer,
                        Answer::Event {
                            duplicate: true,
                            ..
                        }
                    );
                    self.source.accepted(duplicate, self.engine.now());
                }
                Err(Unanswered::NotHere) => return Fate::Release,
                Err(Unanswered::Rejected(reason)) => {
                    rejected = Some(format!("event {id}: {reason}"));
                }
            }
        }
        match rejected {
            None => Fate::Delete,
            Some(reason) => self.refuse(message, &reason, facts).await,
        }
    }

    async fn ask(&self, input: Input) -> Result<Answer, Unanswered> {
        let held = |why: Option<&str>| {
            self.tell(|it| match why {
                Some(why) => {
                    it.held += 1;
                    it.why_held = why.to_owned();
                }
                None => it.held -= 1,
            });
        };
        asking::ask(&self.engine, &self.stop, input, held).await
    }

    /// Puts on record that a message cannot be read, then brings it where such messages go.
    async fn refuse(&self, message: &Sqs, reason: &str, facts: &Facts) -> Fate {
        let id = message.message_id().unwrap_or_default().to_owned();
        let body = message.body().unwrap_or_default();
        let refusal = asking::refusal(&self.engine, self.source.label(), id.clone(), reason, body);
        match self.ask(refusal).await {
            Ok(_) => {}
            Err(Unanswered::NotHere) => return Fate::Release,
            Err(Unanswered::Rejected(why)) => {
                self.source.note(
                    "refusing",
                    Some(format!("message {id} cannot even be put on record: {why}")),
                );
                return Fate::Keep(UNREADABLE_HIDDEN);
            }
        }
        let dead = asking::dead_letter(&self.source.label(), &id, reason);
        match self.ask(dead).await {
            Ok(_) => {}
            Err(Unanswered::NotHere) => return Fate::Release,
            // It is on record all the same.
            Err(Unanswered::Rejected(why)) => {
                let said = format!("nobody is told of message {id}: {why}");
                self.source.note("telling", Some(said));
            }
        }
        let is_known = self
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unreadable
            .contains_key(&id);
        if !is_known {
            self.source.count(|it| it.refused += 1);
        }
        if !facts.dead_letter.exists() {
            self.stays(
                id,
                "and there is no dead-letter queue; give the queue one, or set `dead_letter_url`",
            );
            return Fate::Keep(UNREADABLE_HIDDEN);
        }
        match facts.dead_letter.send(&self.client, message, reason).await {
            Ok(()) => {
                self.stays_no_more(&id);
                Fate::Delete
            }
            Err(error) => {
                let condition = fault::condition("SendMessage to the dead-letter queue", &error);
                self.source.count(|it| it.errors += 1);
                self.stays(
                    id,
                    &format!(
                        "and the dead-letter queue does not take them: {}",
                        condition.message
                    ),
                );
                Fate::Leave
            }
        }
    }

    /// Remembers that a message that cannot be read stays in the queue, and says so.
    fn stays(&self, id: String, why: &str) {
        let now = Instant::now();
        let until = now + UNREADABLE_HIDDEN * 2;
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.unreadable.insert(id, until);
        trouble.unreadable.retain(|_, until| *until > now);
        let count = trouble.unreadable.len();
        drop(trouble);
        let text = format!(
            "{count} of its messages cannot be read, {why}; they stay in the queue until its retention ends"
        );
        self.source.note("unreadable", Some(text));
    }

    fn stays_no_more(&self, id: &str) {
        let now = Instant::now();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.unreadable.remove(id);
        trouble.unreadable.retain(|_, until| *until > now);
        if trouble.unreadable.is_empty() {
            drop(trouble);
            self.source.note("unreadable", None);
        }
    }

    async fn carry_out(&self, messages: &[Sqs], fates: &[Fate]) {
        let mut delete = Vec::new();
        let mut change = Vec::new();
        for (place, (message, fate)) in messages.iter().zip(fates).enumerate() {
            let handle = message.receipt_handle().unwrap_or_default();
            match fate {
                Fate::Delete => delete.push((place, handle)),
                Fate::Release => change.push((place, handle, Duration::ZERO)),
                Fate::Keep(hidden) => change.push((place, handle, *hidden)),
                Fate::Leave => {}
            }
        }
        self.delete(delete).await;
        self.hide(&change).await;
    }

    /// Deletes what is durable.
    async fn delete(&self, mut handles: Vec<(usize, &str)>) {
        let mut backoff = Backoff::new(Duration::from_millis(200), WAIT);
        let mut why = String::new();
        for _ in 0..DELETE_TRIES {
            if handles.is_empty() {
                break;
            }
            let entries = handles.iter().map(|(place, handle)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(place.to_string())
                    .receipt_handle(*handle)
                    .build()
                    .expect("both needed fields are given")
            });
            let answer = self
                .client
                .delete_message_batch()
                .queue_url(&self.config.url)
                .set_entries(Some(entries.collect()))
                .send()
                .await;
            match answer {
                Ok(answer) => {
                    let failed = answer.failed();
                    why = failed
                        .first()
                        .map(|it| it.code().to_owned())
                        .unwrap_or_default();
                    handles
                        .retain(|(place, _)| failed.iter().any(|it| it.id() == place.to_string()));
                }
                Err(error) => why = fault::condition("DeleteMessageBatch", &error).message,
            }
            if !handles.is_empty() {
                tokio::time::sleep(backoff.next()).await;
            }
        }
        let left = handles.len() as u64;
        self.source.count(|it| it.errors += left);
        let text = format!(
            "{left} messages that were accepted could not be deleted ({why}); they come again and are recognised"
        );
        self.source.note("deleting", (left > 0).then_some(text));
    }

    /// Prolongs the time in which nobody else receives these messages, as long as it is polled.
    async fn keep_hidden(&self, messages: &[Sqs], visibility: Duration) {
        loop {
            tokio::time::sleep(visibility / 2).await;
            let handles = messages.iter().filter_map(Sqs::receipt_handle);
            let all: Vec<_> = handles
                .enumerate()
                .map(|(place, handle)| (place, handle, visibility))
                .collect();
            self.hide(&all).await;
        }
    }

    async fn hide(&self, changes: &[(usize, &str, Duration)]) {
        if changes.is_empty() {
            return;
        }
        let entries = changes.iter().map(|(place, handle, hidden)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(place.to_string())
                .receipt_handle(*handle)
                .visibility_timeout(hidden.as_secs() as i32)
                .build()
                .expect("both needed fields are given")
        });
        let changed = self
            .client
            .change_message_visibility_batch()
            .queue_url(&self.config.url)
            .set_entries(Some(entries.collect()))
            .send()
            .await;
        if let Err(error) = changed {
            // They come again earlier than need be, and are recognised.
            self.source.count(|it| it.errors += 1);
            let condition = fault::condition("ChangeMessageVisibilityBatch", &error);
            self.source.note("visibility", Some(condition.message));
        } else {
            self.source.note("visibility", None);
        }
    }

    /// Changes what stands in the way and says how the queue is doing now.
    fn tell(&self, change: impl FnOnce(&mut Trouble)) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut trouble);
        let condition = match (&trouble.receiving, trouble.held) {
            (Some(condition), _) => condition.clone(),
            (None, 0) => Condition::new(SourceState::Ok),
            (None, held) => Condition::with(
                SourceState::Held,
                format!("{held} events are held: {}", trouble.why_held),
            )
            .cure("nothing is lost: they stay hidden in the queue and are tried again"),
        };
        // Under the lock, so that the last word is the newest.
        self.source.set(condition, self.engine.now());
    }
}

/// A message as far as its meaning goes.
fn said(message: &Sqs) -> Message {
    let attributes = message.message_attributes().into_iter().flatten();
    let sent = message
        .attributes()
        .and_then(|it| it.get(&System::SentTimestamp))
        .and_then(|it| it.parse::<i64>().ok());
    Message {
        id: message.message_id().unwrap_or_default().to_owned(),
        body: message.body().unwrap_or_default().to_owned(),
        attributes: attributes
            .map(|(name, value)| (name.clone(), attribute(value)))
            .collect::<Map<_, _>>(),
        sent_at: sent.map(|it| Timestamp(it.saturating_mul(1_000))),
    }
}

/// Texts and numbers as text, bytes as Base64.
fn attribute(value: &MessageAttributeValue) -> Value {
    match (value.string_value(), value.binary_value()) {
        (Some(text), _) => text.into(),
        (None, Some(bytes)) => base64::encode(bytes.as_ref()).into(),
        (None, None) => Value::Null,
    }
}
