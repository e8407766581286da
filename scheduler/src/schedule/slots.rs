//! Schedules with a calendar: what is due on a closed day does not run, or moves to an open one.

use super::due::{Overlap, Rule, Schedule};
use super::error::ScheduleError;
use super::resolve::{first_instant_of, instants_at, local_day, wall_of};
use crate::calendar::ClosedDays;
use crate::spec::{CalendarSpec, Roll};
use crate::time::{Span, Timestamp};
use chrono::NaiveDate;

/// A moment of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// What the schedule says: its name in the ledger, and where its data interval ends.
    pub at: Timestamp,
    /// When it is due: [`at`](Self::at), unless the calendar moves it.
    pub due_at: Timestamp,
}

const TICK: Span = Span(1);

impl Schedule {
    /// The same schedule with closed days.
    ///
    /// # Errors
    /// When the calendar is not valid, or moves slots ([`Roll::Next`], [`Roll::Previous`]) of a schedule that is not
    /// a cron text with one time of day.
    pub fn with_calendar(mut self, spec: &CalendarSpec) -> Result<Self, ScheduleError> {
        let closed = ClosedDays::new(&spec.calendar).map_err(ScheduleError::Calendar)?;
        if spec.roll != Roll::Skip && self.time_of_day.is_none() {
            let calendar = spec.calendar.name.clone();
            return Err(ScheduleError::Roll { calendar });
        }
        self.calendar = Some((closed, spec.roll));
        Ok(self)
    }

    /// The closed days, and what becomes of slots on them.
    pub fn calendar(&self) -> Option<(&ClosedDays, Roll)> {
        self.calendar.as_ref().map(|(closed, roll)| (closed, *roll))
    }

    /// The closed day on which an instant is, and what it is called; `None` on open days.
    pub fn closed_day(&self, at: Timestamp) -> Option<(NaiveDate, String)> {
        let (closed, _) = self.calendar()?;
        let day = local_day(self.zone, at)?;
        Some((day, closed.note(day)?))
    }

    /// The slot after another. Slots are in order of both their times: a later one is never due before an earlier one,
    /// but those that the calendar moves to one day are due at the same instant.
    pub fn slot_after(&self, at: Timestamp) -> Option<Slot> {
        self.next_after(at).map(|at| self.slot(at))
    }

    /// The first slot that is due after an instant; it may lie before, when the calendar moves it over.
    pub fn first_due_after(&self, after: Timestamp) -> Option<Slot> {
        let from = match self.calendar() {
            Some((closed, Roll::Next)) => self.before_closed_days(closed, after).unwrap_or(after),
            _ => after,
        };
        let slots = std::iter::successors(self.slot_after(from), |it| self.slot_after(it.at));
        slots.into_iter().find(|it| it.due_at > after)
    }

    /// When a slot is due.
    pub fn slot(&self, at: Timestamp) -> Slot {
        let due_at = self.moved(at).unwrap_or(at);
        Slot { at, due_at }
    }

    /// Where the local day of an instant begins.
    pub(crate) fn day_begins(&self, at: Timestamp) -> Option<Timestamp> {
        first_instant_of(self.zone, local_day(self.zone, at)?)
    }

    /// Where the closed days begin that end before the day of an instant, or with it.
    fn before_closed_days(&self, closed: &ClosedDays, at: Timestamp) -> Option<Timestamp> {
        let day = local_day(self.zone, at)?;
        let open = match closed.is_closed(day) {
            true => closed.open_until(day)?,
            false => closed.open_until(day.pred_opt()?)?,
        };
        Some(first_instant_of(self.zone, open.succ_opt()?)? - TICK)
    }

    fn moved(&self, at: Timestamp) -> Option<Timestamp> {
        let (closed, roll) = self.calendar()?;
        let day = local_day(self.zone, at).filter(|it| closed.is_closed(*it))?;
        let to = match roll {
            Roll::Skip => return None,
            Roll::Next => closed.open_from(day)?,
            Roll::Previous => closed.open_until(day)?,
        };
        let Rule::Cron { overlap, .. } = &self.rule else {
            return None;
        };
        let (first, second) = instants_at(self.zone, wall_of(to) + self.time_of_day?);
        let second_pass = match overlap {
            Overlap::First => false,
            Overlap::Second => true,
            // The pass that is nearer keeps the order.
            Overlap::Both => roll == Roll::Previous,
        };
        Some(Timestamp::from_secs(if second_pass {
            second
        } else {
            first
        }))
    }
}
