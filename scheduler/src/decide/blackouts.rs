//! Blackouts of flows: whether one is on, and until when.

use super::Draft;
use crate::flow::Flow;
use crate::id::FlowName;
use crate::spec::BlackoutAction;
use crate::time::Timestamp;

impl Flow {
    /// The blackout at an instant, what it does, and when it is over. Of several that are on, one that skips goes first,
    /// else the one that ends last.
    pub fn blackout_at(&self, at: Timestamp) -> Option<(String, BlackoutAction, Timestamp)> {
        let active = |skips: bool| {
            let all = self.blackouts().iter();
            let these = all.filter(move |it| (it.action() == BlackoutAction::Skip) == skips);
            these
                .filter_map(|it| Some((it.active(at)?, it)))
                .max_by_key(|(until, _)| *until)
        };
        let (until, it) = active(true).or_else(|| active(false))?;
        Some((it.name().to_owned(), it.action(), until))
    }
}

impl Draft {
    /// The blackout in which a flow is: its name, what it does, and when it is over.
    pub(super) fn blackout_now(
        &self,
        flow: &FlowName,
    ) -> Option<(String, BlackoutAction, Option<Timestamp>)> {
        let flow = self.s.flows.get(flow)?.flow.as_ref()?;
        let (name, action, until) = flow.blackout_at(self.now)?;
        Some((name, action, Some(until)))
    }
}
