//! Who listens to an event: an index, so that no event looks at triggers that do not wait for it.

use crate::flow::Flow;
use crate::id::FlowName;
use crate::row::EventRow;
use crate::spec::{DATASET_WRITTEN, EventSource, OBJECT_CREATED, TriggerLeaf};
use crate::state::{Scheduler, Subject};

use super::super::runs::RUN_ENDED;

impl Scheduler {
    /// The leaves that listen to an event, those of one trigger together.
    pub(super) fn listeners(&self, event: &EventRow) -> Vec<(FlowName, u16, u16)> {
        let mut all = Vec::new();
        for subject in subjects(event) {
            let first = (subject.clone(), FlowName::new(""), 0, 0);
            let listeners = self.subscriptions.range(first..);
            let listeners = listeners.take_while(|(it, ..)| *it == subject);
            all.extend(listeners.map(|(_, flow, trigger, leaf)| (flow.clone(), *trigger, *leaf)));
        }
        all.sort();
        all
    }
}

/// What each leaf of each trigger of a flow listens to.
pub(crate) fn subscriptions(flow: &Flow) -> Vec<(Subject, FlowName, u16, u16)> {
    let mut all = Vec::new();
    for (trigger, spec) in flow.spec().triggers.iter().enumerate() {
        for (leaf, it) in spec.on.leaves().iter().enumerate() {
            if let Some(subject) = subject(&it.source) {
                all.push((subject, flow.name().clone(), trigger as u16, leaf as u16));
            }
        }
    }
    all
}

/// What a leaf listens to; `None`: to the time of day.
fn subject(source: &EventSource) -> Option<Subject> {
    Some(match source {
        EventSource::Flow { flow, .. } => Subject::Flow(flow.clone()),
        EventSource::Event { kind } => Subject::Kind(kind.clone()),
        EventSource::Object { bucket, key } => {
            Subject::Folder(bucket.clone(), key.folder().to_owned())
        }
        EventSource::Dataset { namespace, name } => {
            Subject::Dataset(namespace.clone(), name.clone())
        }
        EventSource::After { .. } => return None,
    })
}

/// Whether a leaf is among those that an event is offered to.
pub(super) fn may_listen(leaf: &TriggerLeaf, event: &EventRow) -> bool {
    subject(&leaf.source).is_some_and(|it| subjects(event).contains(&it))
}

/// What those who listen to an event may have asked for.
fn subjects(event: &EventRow) -> Vec<Subject> {
    let mut all = Vec::new();
    match upstream(event) {
        Some(flow) => all.push(Subject::Flow(FlowName::new(flow))),
        None => all.push(Subject::Kind(event.kind.clone())),
    }
    all.extend(foreign_upstream(event).map(Subject::Flow));
    if let Some((bucket, key)) = object(event) {
        // Every folder around the key, and the bucket itself.
        let ends = key.match_indices('/').map(|(at, _)| at + 1);
        let folders = std::iter::once(0).chain(ends);
        all.extend(folders.map(|end| Subject::Folder(bucket.to_owned(), key[..end].to_owned())));
    }
    if event.kind == DATASET_WRITTEN
        && let Some(namespace) = event.data["namespace"].as_str()
        && let Some(name) = event.data["name"].as_str()
    {
        all.push(Subject::Dataset(namespace.to_owned(), name.to_owned()));
    }
    all
}

/// The bucket and the key of the object that an event tells of.
pub(super) fn object(event: &EventRow) -> Option<(&str, &str)> {
    let bucket = event.source.strip_prefix("s3://")?;
    let key = event.subject.as_deref()?;
    (event.kind == OBJECT_CREATED).then_some((bucket, key))
}

/// The flow whose run's end an event tells.
fn upstream(event: &EventRow) -> Option<&str> {
    (event.kind == RUN_ENDED && event.source.starts_with("dalsegno:flow/"))
        .then(|| event.data["flow"].as_str())
        .flatten()
}

/// The flow whose run's end an event from elsewhere tells: Metaflow emits it under this name, and only of successes.
pub(super) fn foreign_upstream(event: &EventRow) -> Option<FlowName> {
    let ours = event.source.starts_with("dalsegno:");
    ended_flow(&event.kind).filter(|_| !ours)
}

/// `metaflow.<flow>.end` is what Metaflow calls the end of a run of that flow.
pub(crate) fn ended_flow(kind: &str) -> Option<FlowName> {
    let name = kind.strip_prefix("metaflow.")?.strip_suffix(".end")?;
    Some(FlowName::new(name))
}
