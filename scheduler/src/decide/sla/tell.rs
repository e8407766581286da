//! What people and predictors say of promises, and what people are told.

use crate::alert::AlertKind;
use crate::decide::Draft;
use crate::decide::alerts::About;
use crate::id::FlowName;
use crate::input::{Answer, NewSilence, Rejected};
use crate::row::{Claim, SilenceRow, SlaRow, SlaState};
use crate::sla::{Acknowledged, NewPrediction, Prediction, Promise, SlaKey, sentence};
use crate::time::{Span, Timestamp};
use serde_json::json;
use std::sync::Arc;

const TEXT_BYTES_MAX: usize = 4_096;

impl Draft {
    /// The predictor has looked at a row that is open.
    pub(in crate::decide) fn predict(&mut self, it: NewPrediction) -> Answer {
        if !self.s.is_news(&it) {
            return Answer::Done;
        }
        let key = (it.flow, it.promise, it.period);
        let Some(row) = self.s.slas.get(&key).cloned() else {
            return Answer::Done;
        };
        let state = self.s.state_by(&row, it.chance_permille);
        let (at_risk, chance_permille) = (state == SlaState::AtRisk, it.chance_permille.min(1_000));
        let mut row = SlaRow::clone(&row);
        row.prediction = Some(Box::new(Prediction {
            at: self.now,
            chance_permille,
            finish_p50: it.finish_p50,
            finish_p90: it.finish_p90,
            culprit: it.culprit,
        }));
        row.state = state;
        row.at_risk_since = at_risk.then(|| row.at_risk_since.unwrap_or(self.now));
        if at_risk {
            self.tell_or_silence(&mut row);
        }
        self.put_sla(row);
        Answer::Done
    }

    /// Somebody has seen that a promise is at risk or missed.
    pub(in crate::decide) fn acknowledge(
        &mut self,
        key: &SlaKey,
        by: String,
        note: Option<String>,
    ) -> Result<Answer, Rejected> {
        check_text(note.as_ref())?;
        let row = self.s.slas.get(key).cloned();
        let Some(row) = row else {
            let (flow, promise, period) = key;
            let name = format!("{flow} {promise} {period}");
            return Err(Rejected::UnknownSla(name));
        };
        let known = row.acknowledged.as_ref();
        if known.is_some_and(|it| it.by == by && it.note == note) {
            return Ok(Answer::Done);
        }
        let at = self.now;
        self.put_sla(SlaRow {
            acknowledged: Some(Acknowledged { by, at, note }),
            ..SlaRow::clone(&row)
        });
        Ok(Answer::Done)
    }

    pub(in crate::decide) fn silence(&mut self, it: NewSilence) -> Result<Answer, Rejected> {
        let claim = it.claim();
        let NewSilence {
            flow,
            promise,
            from,
            until,
            by,
            note,
            key: _,
        } = it;
        check_text(note.as_ref())?;
        let from = from.unwrap_or(self.now);
        if until <= from.max(self.now) {
            return Err(Rejected::EmptySilence { from, until });
        }
        // One with a star may be about flows that are still to come.
        if let Some(flow) = flow.as_ref().filter(|it| !it.contains('*')) {
            self.known(&FlowName::new(flow))?;
        }
        self.s.last_silence += 1;
        let id = self.s.last_silence;
        self.put_silence(SilenceRow {
            id,
            flow,
            promise,
            from,
            until,
            by,
            note,
            created_at: self.now,
            ended_at: None,
        });
        if let Some(key) = claim {
            let result = format!("silence:{id}");
            self.changes.claims.push(Claim { key, result });
        }
        Ok(Answer::Silence {
            silence: id,
            duplicate: false,
        })
    }

    /// A silence is over, by itself or because somebody wants it to be. What it kept is told, if it is still so.
    pub(in crate::decide) fn end_silence(&mut self, id: u64) -> Result<Answer, Rejected> {
        let row = self.s.silences.get(&id).cloned();
        let row = row.ok_or(Rejected::UnknownSilence(id))?;
        self.put_silence(SilenceRow {
            ended_at: Some(self.now),
            ..SilenceRow::clone(&row)
        });
        let kept = self.s.slas.values();
        let kept = kept.filter(|it| it.silenced_until.is_some() && row.is_about(it));
        let kept: Vec<Arc<SlaRow>> = kept.cloned().collect();
        for it in kept {
            let mut it = SlaRow::clone(&it);
            self.tell_or_silence(&mut it);
            self.put_sla(it);
        }
        Ok(Answer::Done)
    }

    /// Until when nobody is told of a row.
    pub(super) fn silence_of(&self, row: &SlaRow) -> Option<Timestamp> {
        let silences = self.s.silences.values();
        let about =
            |it: &&Arc<SilenceRow>| it.from <= self.now && self.now < it.until && it.is_about(row);
        silences.filter(about).map(|it| it.until).max()
    }

    /// Tells of the state that a row has now, once for each row and state.
    pub(super) fn tell_or_silence(&mut self, row: &mut SlaRow) {
        let kind = match row.state {
            SlaState::AtRisk => AlertKind::SlaAtRisk,
            SlaState::Missed => AlertKind::SlaMissed,
            SlaState::OnTime | SlaState::Met | SlaState::MetLate => {
                row.silenced_until = None;
                return;
            }
        };
        if row.told >= Some(row.state) {
            return;
        }
        row.silenced_until = self.silence_of(row);
        if row.silenced_until.is_none() {
            row.told = Some(row.state);
            self.tell_sla(row, kind);
        }
    }

    /// A row has come to its end: who was told that it is in danger is told of that, silence or not.
    pub(super) fn tell_over(&mut self, row: &SlaRow) {
        if row.told.is_some() {
            self.tell_sla(row, AlertKind::SlaMet);
        }
    }

    fn tell_sla(&mut self, row: &SlaRow, kind: AlertKind) {
        if !self.wants(kind, Some(&row.flow)) {
            return;
        }
        let flow = self.s.flows.get(&row.flow).and_then(|it| it.flow.clone());
        let promise = flow.as_ref().and_then(|it| it.promise(&row.promise));
        let what = promise.map_or_else(|| row.promise.to_string(), Promise::text);
        let culprit = row.prediction.as_ref().and_then(|it| it.culprit.as_ref());
        let told = culprit.map(|it| it.text(&row.flow));
        let because = told
            .as_ref()
            .map(|it| format!(": {it}"))
            .unwrap_or_default();
        let run = row.run.map(|it| format!(" (run {it})")).unwrap_or_default();
        let name = &row.flow;
        let summary = match kind {
            AlertKind::SlaAtRisk => {
                let due = promise.map_or_else(|| what.clone(), Promise::due_text);
                let who = match &row.step {
                    Some(step) => format!("{name} (step {step})"),
                    None => name.to_string(),
                };
                let (late, chance) = row.prediction.as_ref().map_or((Span::ZERO, 1_000), |it| {
                    (it.finish_p50 - row.due_at, it.chance_permille)
                });
                sentence(&who, &due, late, chance.max(100), told.as_deref()) + &run
            }
            AlertKind::SlaMet if row.withdrawn.is_some() => {
                let why = row.withdrawn.as_ref().map(|it| format!(": {it}"));
                format!(
                    "nobody waits any more for {name} to keep \"{what}\"{}{run}",
                    why.unwrap_or_default()
                )
            }
            AlertKind::SlaMet => {
                let late = row.met_at.map_or(Span::ZERO, |it| it - row.due_at);
                match late > Span::ZERO {
                    true => format!("{name} has kept \"{what}\", {late} late{run}"),
                    false => format!("{name} has kept \"{what}\" in time after all{run}"),
                }
            }
            _ => {
                let more = match row.more {
                    0 => String::new(),
                    more => format!(" and {more} more times since"),
                };
                let due_at = row.due_at;
                format!("{name} has missed \"{what}\", due at {due_at}{more}{because}{run}")
            }
        };
        let text = |at: Option<Timestamp>| at.map(|it| it.to_string());
        self.alert(About {
            kind,
            flow: &row.flow,
            run: row.run,
            step: row.step.clone(),
            key: format!("sla:{}:{}:{}", row.flow, row.promise, row.period),
            summary,
            data: json!({
                "promise": row.promise,
                "promised": what,
                "period": row.period,
                "state": row.state,
                "more": row.more,
                "withdrawn": row.withdrawn.as_ref().map(ToString::to_string),
                "due_at": row.due_at.to_string(),
                "at_risk_since": text(row.at_risk_since),
                "missed_at": text(row.missed_at),
                "met_at": text(row.met_at),
                "chance": row.prediction.as_ref().map(|it| f64::from(it.chance_permille) / 1000.0),
                "finish_p50": text(row.prediction.as_ref().map(|it| it.finish_p50)),
                "finish_p90": text(row.prediction.as_ref().map(|it| it.finish_p90)),
                "culprit": culprit,
            }),
        });
    }
}

fn check_text(note: Option<&String>) -> Result<(), Rejected> {
    match note {
        Some(note) if note.len() > TEXT_BYTES_MAX => {
            Err(Rejected::TooLarge("the note", TEXT_BYTES_MAX))
        }
        _ => Ok(()),
    }
}
