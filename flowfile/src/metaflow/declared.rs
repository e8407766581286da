//! A flow as Metaflow knows it: what both the text and a dump give.

use super::found::{Found, Place};
use super::value::{Unknown, Value};
use serde_json::{Map, Value as Json};

/// A flow before it becomes ours.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) class: String,
    pub(super) doc: String,
    pub(super) place: Place,
    pub(super) decorators: Vec<Decorator>,
    /// In the order of the file.
    pub(super) steps: Vec<Step>,
    /// `None`: the file leaves open which one it is.
    pub(super) start: Option<String>,
    pub(super) end: Option<String>,
    pub(super) params: Vec<Param>,
    pub(super) configs: Map<String, Json>,
    pub(super) metaflow_version: Option<String>,
    /// All steps are known.
    pub(super) complete: bool,
    /// What each flow of the run was told by Metaflow itself, see [`super::project`].
    pub(super) project: Option<Json>,
}

#[derive(Clone, Debug)]
pub(super) struct Decorator {
    pub(super) name: String,
    pub(super) place: Place,
    /// In the order given; those left out have their default.
    pub(super) attributes: Vec<Attribute>,
    /// As written, for people.
    pub(super) text: String,
    /// Events or flows as Metaflow worked them out: wins over the attributes.
    pub(super) triggers: Option<Json>,
}

#[derive(Clone, Debug)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) value: Result<Value, Unknown>,
}

impl Decorator {
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().rev().find(|it| it.name == name)
    }

    /// Where an attribute stands, or the decorator.
    pub(super) fn place_of(&self, name: &str) -> &Place {
        self.attribute(name).map_or(&self.place, |it| &it.place)
    }

    /// The value of an attribute, if it is given and known; what is not known is noted.
    pub(super) fn value(&self, name: &str, found: &mut Found) -> Option<&Value> {
        let attribute = self.attribute(name)?;
        match &attribute.value {
            Ok(value) => Some(value),
            Err(Unknown(reason)) => {
                let what = format!("@{}({name}=…)", self.name);
                found.unknown(&attribute.place, what, reason);
                None
            }
        }
    }

    pub(super) fn is_known(&self, name: &str) -> bool {
        self.attribute(name).is_none_or(|it| it.value.is_ok())
    }
}

/// How a step goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Linear,
    Split,
    Foreach,
    Parallel,
    Switch,
    Join,
    End,
    /// No `self.next`, or one that Metaflow does not understand.
    Unclear,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) next: Vec<String>,
    /// Where `self.next(…)` stands.
    pub(super) next_place: Option<Place>,
    /// The last statement is a `self.next`.
    pub(super) has_next: bool,
    /// That `self.next` is of a form that Metaflow understands.
    pub(super) valid_next: bool,
    /// A `self.next` that is not the last statement.
    pub(super) stray_next: Option<Place>,
    pub(super) arguments: usize,
    pub(super) marked_start: bool,
    pub(super) marked_end: bool,
    pub(super) decorators: Vec<Decorator>,
    /// Repetitions of user code, and further ones that only run `@catch`, as Metaflow counted them.
    pub(super) retries: Option<(u32, u32)>,
}

impl Step {
    pub(super) fn decorator(&self, name: &str) -> Option<&Decorator> {
        self.decorators.iter().find(|it| it.name == name)
    }
    pub(super) fn is_parallel(&self) -> bool {
        self.decorators
            .iter()
            .any(|it| it.name == "parallel" || it.name == "pytorch_parallel")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamType {
    String,
    Int,
    Float,
    Bool,
    Json,
    File,
}

#[derive(Clone, Debug)]
pub(super) struct Param {
    /// On the command line.
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) kind: ParamType,
    pub(super) required: bool,
    pub(super) multiple: bool,
    /// `None`: there is none, or it is not known.
    pub(super) default: Option<Json>,
    /// There is a default, but only running the file can tell which.
    pub(super) unknown_default: Option<String>,
    pub(super) help: Option<String>,
}
