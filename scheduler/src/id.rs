//! Names and ids. Each is a type of its own; each has one text form, the same everywhere.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How deep foreach may nest. Four is one more than any flow of Metaflow's own test suite uses;
/// a fixed bound keeps a task's key `Copy` and small.
pub const NESTING_MAX: usize = 4;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(Arc::from(name.as_ref()))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// Serializes a type as its text form.
macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}
name! {
    /// A flow's unique name: `[A-Za-z0-9_.-]+`, at most 128 characters.
    FlowName
}
name! {
    /// A step's (or foreach block's) name, unique in its flow: `[A-Za-z_][A-Za-z0-9_-]*`, at most 128.
    StepName
}
name! {
    /// A pool's name: slots shared across flows.
    PoolName
}
name! {
    /// The name of a trigger or schedule within its flow, stable while its text is unchanged.
    TriggerName
}
name! {
    /// The content hash of a flow version: the first 16 hex digits of SHA-256.
    Version
}

/// One execution of a flow version: 1, 2, 3 … within a database, in order of creation, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        text.parse()
            .map(Self)
            .map_err(|_| BadId(text.into(), "a run id, a whole number such as 42"))
    }
}

/// Where a task stands in the enclosing foreach scopes: one index per scope, outermost first.
/// Text form `3.0`; empty at the root.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    indexes: [u32; NESTING_MAX],
    depth: u8,
}

impl Path {
    pub const ROOT: Self = Self {
        indexes: [0; NESTING_MAX],
        depth: 0,
    };

    pub fn as_slice(&self) -> &[u32] {
        &self.indexes[..usize::from(self.depth)]
    }
    pub const fn is_root(&self) -> bool {
        self.depth == 0
    }
    pub fn depth(&self) -> usize {
        usize::from(self.depth)
    }
    /// The path of item `index` of a scope opened at this path. Panics below [`NESTING_MAX`]
    /// scopes, which `Flow::new` refuses.
    pub fn child(&self, index: u32) -> Self {
        let mut child = *self;
        child.indexes[usize::from(self.depth)] = index;
        child.depth += 1;
        child
    }
    /// The path of the enclosing scope and the index in it; `None` at the root.
    pub fn parent(&self) -> Option<(Self, u32)> {
        let depth = self.depth.checked_sub(1)?;
        let index = self.indexes[usize::from(depth)];
        let mut parent = *self;
        parent.indexes[usize::from(depth)] = 0;
        parent.depth = depth;
        Some((parent, index))
    }
    /// The first `depth` indexes.
    pub fn prefix(&self, depth: usize) -> Self {
        let mut path = Self::ROOT;
        for &index in self.as_slice().iter().take(depth) {
            path = path.child(index);
        }
        path
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, index) in self.as_slice().iter().enumerate() {
            let dot = if place == 0 { "" } else { "." };
            write!(f, "{dot}{index}")?;
        }
        Ok(())
    }
}
impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}
impl FromStr for Path {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(text.into(), "an index path such as 3.0");
        let mut path = Self::ROOT;
        for index in text.split('.').filter(|_| !text.is_empty()) {
            if path.depth() == NESTING_MAX {
                return Err(bad());
            }
            path = path.child(index.parse().map_err(|_| bad())?);
        }
        Ok(path)
    }
}
text_serde!(Path);

/// Names one task for ever. Text form: `train`, `train[3]`, `fit[3.0]`, `loop@2` (third iteration).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub step: StepName,
    pub path: Path,
    /// How often the step switched back to itself before; 0 in all but recursive steps.
    pub iteration: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(f)?;
        if !self.path.is_root() {
            write!(f, "[{}]", self.path)?;
        }
        if self.iteration > 0 {
            write!(f, "@{}", self.iteration)?;
        }
        Ok(())
    }
}
impl FromStr for TaskId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(text.into(), "a task such as train, train[3] or loop@2");
        let (rest, iteration) = match text.split_once('@') {
            Some((rest, iteration)) => (rest, iteration.parse().map_err(|_| bad())?),
            None => (text, 0),
        };
        let (step, path) = match rest.split_once('[') {
            Some((step, path)) => {
                let path = path.strip_suffix(']').ok_or_else(bad)?;
                (step, path.parse()?)
            }
            None => (rest, Path::ROOT),
        };
        if step.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            step: step.into(),
            path,
            iteration,
        })
    }
}
text_serde!(TaskId);

/// Names one try of a task for ever: the idempotency key of its submission and the fencing token
/// of its reports. Text form: `42/train[3]/1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    pub run: RunId,
    pub task: TaskId,
    /// Counted from 1 and on through resumes.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.task, self.number)
    }
}
impl FromStr for AttemptId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(text.into(), "an attempt such as 42/train[3]/1");
        let (run, rest) = text.split_once('/').ok_or_else(bad)?;
        let (task, number) = rest.rsplit_once('/').ok_or_else(bad)?;
        Ok(Self {
            run: run.parse()?,
            task: task.parse()?,
            number: number.parse().map_err(|_| bad())?,
        })
    }
}
text_serde!(AttemptId);

/// The text is not the id it should be: what was given, what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not {1}")]
pub struct BadId(pub String, pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_reads_back_from_its_text() {
        for text in ["train", "train[3]", "fit[3.0]", "loop@2", "fit[1.2.3.4]@7"] {
            let task: TaskId = text.parse().expect(text);
            assert_eq!(task.to_string(), text);
            let attempt = format!("42/{text}/3");
            assert_eq!(
                attempt.parse::<AttemptId>().expect("valid").to_string(),
                attempt
            );
        }
        for text in ["", "a[", "a[x]", "a@x", "a[1.2.3.4.5]"] {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
    }
}
