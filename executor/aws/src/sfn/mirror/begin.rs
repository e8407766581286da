//! How an execution comes to be: found, redriven or started, each in its turn.

use super::super::compiled::Compiled;
use super::super::jobs::ensure_definition;
use super::super::machine::{self, NotYet, later};
use super::super::resume::ResumePlan;
use super::{Mirror, Wanted};
use crate::guard::{Api, CallError, Place};
use aws_sdk_sfn::config::http::HttpResponse;
use aws_sdk_sfn::error::{ProvideErrorMetadata, SdkError};
use dalsegno_scheduler::AttemptId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

impl Mirror {
    /// Whether the execution exists already, without starting it.
    pub(super) async fn find(&mut self) -> Result<bool, NotYet> {
        let aws = &self.inner.aws;
        let machine = match self.compiled {
            Some(_) => Compiled::machine(&self.inner, &self.execution).await?,
            None => machine::find(aws, self.execution.flow.name()).await?,
        };
        let Some(machine) = machine else {
            return Ok(false);
        };
        let Some(prepared) = &self.prepared else {
            return Ok(false);
        };
        let arn = machine::execution_arn(&machine, &prepared.name);
        let found = machine::describe(aws, &arn).await?.is_some();
        self.arn = found.then_some(arn);
        Ok(found)
    }

    /// Whether anything was done for this generation.
    pub(super) async fn is_there(&mut self) -> Result<bool, NotYet> {
        if !self.find().await? {
            self.find_before().await?;
        }
        Ok(self.arn.is_some())
    }

    /// The execution before, if it is to be redriven for this generation, and how often it will have been. If it has been
    /// already, it is ours.
    pub(super) async fn find_before(&mut self) -> Result<Option<(String, u32)>, NotYet> {
        if self.execution.generation == 1 {
            return Ok(None);
        }
        let (arn, redrives) = match self.compiled {
            // What Metaflow compiled is gone on with in no other way.
            Some(_) => {
                let (run, created) = (self.key.0, self.created);
                Compiled::redriven(&self.inner, &self.execution, run, created).await?
            }
            None => match self.plan().await? {
                (ResumePlan::Redrive { .. }, Some(arn), redrives) => (arn, redrives),
                _ => return Ok(None),
            },
        };
        let found = machine::describe(&self.inner.aws, &arn).await?;
        let count = found.and_then(|it| it.redrive_count()).unwrap_or(0);
        if u32::try_from(count).unwrap_or(0) < redrives {
            return Ok(Some((arn, redrives)));
        }
        self.since = redrives;
        self.arn = Some(arn);
        Ok(None)
    }

    /// Starts the execution, or takes up the one before. Without either nobody wants it any more.
    pub(super) async fn begin(
        &mut self,
        wanted: &BTreeMap<AttemptId, Wanted>,
    ) -> Result<(), NotYet> {
        if self.find().await? {
            return Ok(());
        }
        if let Some((arn, redrives)) = self.find_before().await? {
            return self.redrive(arn, redrives).await;
        }
        if self.arn.is_some() {
            return Ok(());
        }
        if let Some(arn) = known_arn(wanted) {
            self.arn = Some(arn);
            return Ok(());
        }
        if let Some(compiled) = self.compiled.clone() {
            return self.begin_compiled(&compiled).await;
        }
        let Some(prepared) = &self.prepared else {
            return Ok(());
        };
        let aws = &self.inner.aws;
        if self.ensured.is_none() {
            for (name, content) in &prepared.definitions {
                let done = ensure_definition(aws, name, content).await;
                done.map_err(|(api, error)| later(api)(error))?;
            }
            if let Some(storage) = &self.inner.storage {
                for object in &prepared.objects {
                    let put = storage.put(aws, &object.key, object.body.clone()).await;
                    put.map_err(later(Api::S3Put))?;
                }
            }
            self.ensured = Some(machine::ensure(aws, self.execution.flow.name(), prepared).await?);
        }
        self.start().await
    }

    /// The same for a machine that Metaflow compiles.
    async fn begin_compiled(&mut self, compiled: &Compiled) -> Result<(), NotYet> {
        let deployed = compiled.deployed(&self.inner, &self.execution).await?;
        self.ensured = Some((deployed.machine.clone(), deployed.version.clone()));
        let started = self.start().await;
        if let Err(NotYet::Never(message)) = &started
            && message.contains("StateMachineDoesNotExist")
        {
            // Somebody deleted it: it is deployed anew.
            Compiled::forget(&self.inner, &self.execution).await?;
            let message = message.clone();
            return Err(NotYet::Later(
                Api::StartExecution,
                CallError::Unreachable { message },
            ));
        }
        started
    }

    /// Its name makes it one, however often it is asked for.
    async fn start(&mut self) -> Result<(), NotYet> {
        let (Some(prepared), Some((machine, version))) = (&self.prepared, &self.ensured) else {
            return Ok(());
        };
        let (run, name) = (self.key.0, prepared.name.clone());
        let arn = machine::execution_arn(machine, &name);
        let sfn = &self.inner.aws.sfn;
        let start = sfn.start_execution().state_machine_arn(version);
        let start = start.name(&name).input(&prepared.input);
        let send = move || start.clone().send();
        let place = match self.place.take() {
            Some(place) => place,
            None => self.inner.aws.guard.place(Api::StartExecution),
        };
        let (place, done) = self.in_line(Api::StartExecution, place, send).await;
        match done {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(CallError::Invalid { code, .. }) if code == "ExecutionAlreadyExists" => {}
            Err(error) => {
                // It comes again, and not behind those who asked later.
                self.place = place;
                return Err(later(Api::StartExecution)(error));
            }
        }
        tracing::info!(run.id = %run, execution = %name, "run {run} is execution {name}");
        self.arn = Some(arn);
        Ok(())
    }

    async fn redrive(&mut self, arn: String, redrives: u32) -> Result<(), NotYet> {
        let api = Api::RedriveExecution;
        let aws = &self.inner.aws;
        // The same token within 15 minutes is the same redrive.
        let token = format!("{}-g{}", self.key.0, self.execution.generation);
        let redrive = aws.sfn.redrive_execution().execution_arn(&arn);
        let redrive = redrive.client_token(token);
        let send = move || redrive.clone().send();
        let place = aws.guard.place(api);
        let sent = self.in_line(api, place, send).await.1;
        if sent.map_err(later(api))?.is_some() {
            self.since = redrives;
            self.arn = Some(arn);
        }
        Ok(())
    }

    /// Sends it when it is its turn, and tells meanwhile why it waits. `None`: by then nobody wanted it any more, and it
    /// was not sent; whoever waits in the line and is not wanted any more leaves it.
    async fn in_line<T, E, C>(
        &mut self,
        api: Api,
        place: Place,
        send: impl Fn() -> C,
    ) -> (Option<Place>, Result<Option<T>, CallError>)
    where
        E: ProvideErrorMetadata,
        C: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let (inner, key, wake) = (self.inner.clone(), self.key, self.wake.clone());
        let is_sent = AtomicBool::new(false);
        let call = || {
            let send = send();
            let (inner, is_sent) = (&inner, &is_sent);
            async move {
                inner.aws.guard.submissions(1).await;
                // Asked after all waits.
                let send = async {
                    let leads = inner.aws.leads().await;
                    // From here on it is waited for, whoever wants it stopped.
                    is_sent.store(true, Ordering::Relaxed);
                    match leads && inner.book().is_wanted(key) {
                        true => send.await.map(Some),
                        false => Ok(None),
                    }
                };
                let result = inner.aws.guard.call(api, send).await;
                is_sent.store(false, Ordering::Relaxed);
                result
            }
        };
        let (tell, mut told) = tokio::sync::watch::channel(None::<(CallError, Duration)>);
        let waiting = |error: &CallError, wait: Duration| {
            tell.send_replace(Some((error.clone(), wait)));
        };
        let mut is_woken = false;
        let mut done = std::pin::pin!(inner.aws.guard.in_order(place, call, waiting));
        loop {
            tokio::select! {
                biased;
                (place, done) = &mut done => {
                    if is_woken {
                        wake.notify_one();
                    }
                    if matches!(done, Err(CallError::Unreachable { .. })) {
                        self.doubt = Some(Instant::now());
                    }
                    let is_refused = matches!(done, Ok(None)) && inner.book().is_wanted(key);
                    let done = if is_refused { Err(not_in_charge()) } else { done };
                    return (Some(place), done);
                }
                Ok(()) = told.changed() => {}
                () = wake.notified() => is_woken = true,
            }
            if !is_sent.load(Ordering::Relaxed) && !inner.book().is_wanted(key) {
                wake.notify_one();
                return (None, Ok(None));
            }
            let why = told.borrow_and_update().clone();
            if let Some((error, wait)) = why {
                let wanted = self.wanted();
                self.waits(&wanted, api, &error, wait).await;
            }
        }
    }
}

fn not_in_charge() -> CallError {
    CallError::Throttled {
        message: "another instance is in charge".into(),
        retry_after: None,
    }
}

/// The execution that there was according to rows. Not to be found any more, somebody deleted it: what it did is not done
/// again.
pub(super) fn known_arn(wanted: &BTreeMap<AttemptId, Wanted>) -> Option<String> {
    let mut known = wanted
        .values()
        .filter_map(|it| it.submission.remote.as_ref()?.external_id.as_deref());
    known.next()?.split('#').next().map(str::to_owned)
}
