//! What EventBridge tells of jobs and executions, through an SQS queue. Best effort by nature: whoever is told goes on
//! asking, only less often.

use crate::batch::Batch;
use crate::cx::Aws;
use crate::guard::Api;
use crate::job::{Job, JobState};
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message};
use futures_util::future;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long a request waits for messages: the longest that SQS allows.
const WAIT_S: i32 = 20;

/// SQS hands out so many at a time.
const MESSAGES_MAX: u8 = 10;

/// So many requests are on their way at a time at most, while there are more messages than they bring: one more each time.
const REQUESTS: usize = 16;

/// After a request that brought some messages but not all that it could, more are let come: each request costs.
const GATHER: Duration = Duration::from_millis(200);

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Hands on what the configured queue brings, until `stop`: of jobs to `batch`, of executions their `detail` to
/// `executions`. Without a queue nothing happens.
pub fn start(
    aws: Aws,
    batch: Option<Arc<Batch>>,
    executions: Option<mpsc::Sender<Value>>,
    stop: CancellationToken,
) {
    let Some(queue) = aws.config.status_queue.clone() else {
        return;
    };
    tokio::spawn(async move {
        let mut wait = RETRY_FIRST;
        let mut requests = 1;
        loop {
            // What is for the daemon in charge is left to it.
            if !aws.leads().await {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY_FIRST) => continue,
                }
            }
            let patience = if requests > 1 { 0 } else { WAIT_S };
            let turns = (0..requests).map(|_| {
                receive(
                    &aws,
                    &queue,
                    patience,
                    batch.as_deref(),
                    executions.as_ref(),
                )
            });
            let got = tokio::select! {
                () = stop.cancelled() => return,
                got = future::join_all(turns) => got,
            };
            let is_full = |it: &Result<usize, NotRead>| *it == Ok(usize::from(MESSAGES_MAX));
            let (full, is_none) = (got.iter().all(is_full), got.iter().all(|it| *it == Ok(0)));
            requests = match full {
                true => (requests + 1).min(REQUESTS),
                false => 1,
            };
            let pause = if got.iter().any(Result::is_err) {
                let pause = wait;
                wait = (wait * 2).min(RETRY_MAX);
                pause
            } else {
                wait = RETRY_FIRST;
                if full || is_none {
                    continue;
                }
                GATHER
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
}

/// The queue could not be read, as the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotRead;

/// One request, and the deletion of what it brought; how many it brought. What dies in between comes again, which changes
/// nothing.
async fn receive(
    aws: &Aws,
    queue: &str,
    patience_s: i32,
    batch: Option<&Batch>,
    executions: Option<&mpsc::Sender<Value>>,
) -> Result<usize, NotRead> {
    let ask = aws.sqs.receive_message().queue_url(queue);
    let ask = ask
        .max_number_of_messages(i32::from(MESSAGES_MAX))
        .wait_time_seconds(patience_s);
    let got = match aws.guard.call(Api::Sqs, ask.send()).await {
        Ok(got) => got,
        Err(error) => {
            warn!("the queue of state changes cannot be read: {error}");
            return Err(NotRead);
        }
    };
    let messages = got.messages.unwrap_or_default();
    if messages.is_empty() {
        return Ok(0);
    }
    if !aws.leads().await {
        // Not any more: they come again, to whoever is in charge now.
        return Err(NotRead);
    }
    for message in &messages {
        if let Err(what) = take(message, batch, executions) {
            warn!("a message in the queue of state changes is passed over: {what}");
        }
    }
    match delete(aws, queue, &messages).await {
        true => Ok(messages.len()),
        false => Err(NotRead),
    }
}

/// # Errors
/// Why it says nothing that is understood.
fn take(
    message: &Message,
    batch: Option<&Batch>,
    executions: Option<&mpsc::Sender<Value>>,
) -> Result<(), String> {
    let body = message.body().unwrap_or_default();
    let event: Value =
        serde_json::from_str(body).map_err(|error| format!("{error}, in {} bytes", body.len()))?;
    match event["detail-type"].as_str().unwrap_or_default() {
        "Batch Job State Change" | "Batch Job Queue Blocked" => {
            let job = Job::of_event(&event["detail"])?;
            if let Some(batch) = batch {
                batch.hear(&job);
            }
            // A job of an execution: its run is looked at. Too many at once may be left out, for it is looked at anyway.
            let is_worth = matches!(
                job.state,
                JobState::Running | JobState::Succeeded | JobState::Failed
            );
            // Metaflow's own jobs are not named after their execution, but have it among their parameters.
            let execution = event["detail"]["parameters"]["metaflow.run_id"].as_str();
            if let (Some(executions), true) = (executions, is_worth) {
                let name = execution.unwrap_or(&job.name);
                let _ = executions.try_send(json!({ "name": name }));
            }
        }
        "Step Functions Execution Status Change" => {
            if let Some(executions) = executions {
                // Too many at once may be left out, for every execution is looked at anyway.
                let _ = executions.try_send(event["detail"].clone());
            }
        }
        other => debug!("an event of type `{other}` is none of ours"),
    }
    Ok(())
}

async fn delete(aws: &Aws, queue: &str, messages: &[Message]) -> bool {
    let entries: Vec<_> = messages
        .iter()
        .enumerate()
        .filter_map(|(number, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
            entry.receipt_handle(message.receipt_handle()?).build().ok()
        })
        .collect();
    if entries.is_empty() {
        return true;
    }
    let delete = aws.sqs.delete_message_batch().queue_url(queue);
    let delete = delete.set_entries(Some(entries)).send();
    match aws.guard.call(Api::Sqs, delete).await {
        Ok(_) => true,
        Err(error) => {
            // They come again.
            warn!("state changes could not be taken off their queue: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_metaflow_named_is_told_under_the_name_of_its_execution() {
        let detail = |parameters: Value| json!({ "jobId": "1", "jobName": "SFN-Mill--grind--", "status": "SUCCEEDED", "parameters": parameters });
        let heard = |detail: Value| {
            let (executions, mut told) = mpsc::channel(1);
            let body = json!({ "detail-type": "Batch Job State Change", "detail": detail });
            let message = Message::builder().body(body.to_string()).build();
            take(&message, None, Some(&executions)).expect("it is understood");
            told.try_recv().expect("something is told")["name"].clone()
        };
        assert_eq!(
            heard(detail(json!({ "metaflow.run_id": "ds-a-1-b-g1" }))),
            "ds-a-1-b-g1"
        );
        assert_eq!(heard(detail(json!({}))), "SFN-Mill--grind--");
    }
}
