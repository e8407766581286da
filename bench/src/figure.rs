//! One measured figure.

use crate::aim::Aim;
use dalsegno_engine::clock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A measured figure with everything needed to judge it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The letter of the benchmark it belongs to.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<Limit>,
    /// Measured over limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    pub(crate) aim: Aim,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reached: Option<bool>,
    /// Half of the fsyncs of the same minute on the same disk were faster than this.
    pub(crate) fsync_p50_us: f64,
    /// Processes that wanted a core in the last minute, others' included.
    pub(crate) load: f64,
    pub(crate) at: String,
    /// What explains it: further numbers, by name with unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) more: BTreeMap<String, f64>,
}

/// What the same machine can do at best, in the figure's unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(id: &str, name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.into(),
            value,
            unit: unit.to_owned(),
            limit: None,
            ratio: None,
            aim: Aim::None,
            reached: None,
            fsync_p50_us: 0.0,
            load: load(),
            at: clock::now().to_string(),
            more: BTreeMap::new(),
        }
    }

    pub(crate) fn limit(mut self, name: impl Into<String>, value: f64) -> Self {
        self.ratio = (value > 0.0).then(|| self.value / value);
        self.limit = Some(Limit {
            name: name.into(),
            value,
        });
        self
    }

    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.aim = aim;
        self
    }

    pub(crate) fn more(mut self, name: &str, value: f64) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The last step: judges it, with the disk's mood of the same minute.
    pub(crate) fn judged(mut self, fsync_p50_us: f64) -> Self {
        self.fsync_p50_us = fsync_p50_us;
        self.reached = self.aim.is_reached(self.value, self.ratio);
        self
    }
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|it| it.parse().ok())
        .unwrap_or_default()
}
