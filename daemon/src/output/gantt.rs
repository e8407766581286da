//! Bars of time: light while something waits, full while it runs.

use crate::client::Time;

/// The stretch of time that all bars of one picture share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) start: Time,
    pub(crate) end: Time,
    /// In characters.
    pub(crate) width: usize,
}

impl Scale {
    /// A bar of exactly `width` characters. A stretch too short for a character still has one.
    pub(crate) fn bar(
        &self,
        ready: Option<Time>,
        started: Option<Time>,
        ended: Option<Time>,
    ) -> String {
        let first = ready.or(started).unwrap_or(self.end);
        let wait = self.place(first);
        let run = started.map_or(self.width, |it| self.place(it));
        let end = ended.map_or(self.width, |it| self.part(it).ceil() as usize);
        let end = end.clamp(run + 1, self.width.max(run + 1));
        (0..self.width)
            .map(|at| match at {
                _ if started.is_some() && (run..end).contains(&at) => '█',
                _ if (wait..run.max(wait + 1)).contains(&at) && at < end => '░',
                _ => ' ',
            })
            .collect()
    }

    /// The character in which an instant lies.
    fn place(&self, at: Time) -> usize {
        (self.part(at) as usize).min(self.width.saturating_sub(1))
    }

    fn part(&self, at: Time) -> f64 {
        let length = (self.end.0 - self.start.0).0.max(1) as f64;
        (at.0 - self.start.0).0.max(0) as f64 / length * self.width as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_scheduler::Timestamp;

    #[test]
    fn bars_show_waiting_and_running_and_are_never_empty() {
        let at = |secs| Some(Time(Timestamp::from_secs(secs)));
        let scale = Scale {
            start: Time(Timestamp::from_secs(0)),
            end: Time(Timestamp::from_secs(10)),
            width: 10,
        };
        let bars = [
            scale.bar(at(0), at(0), at(4)),
            scale.bar(at(2), at(4), at(7)),
            scale.bar(at(4), at(4), at(4)),
            scale.bar(at(8), None, None),
            scale.bar(at(5), at(6), None),
        ];
        insta::assert_snapshot!(bars.map(|it| format!("|{it}|")).join("\n"), @r"
        |████      |
        |  ░░███   |
        |    █     |
        |        ░░|
        |     ░████|
        ");
    }
}
