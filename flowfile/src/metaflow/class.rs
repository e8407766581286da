//! Classes: which of them are flows, what they inherit, and which one a file runs.

use super::found::{Found, Place};
use super::known::Target;
use super::module::{File, Loader, Symbol};
use super::packages;
use super::syntax::{Class, Expr, ExprKind, Member, MemberKind};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Longer chains of base classes are circles.
const BASES_MAX: usize = 64;

/// A class in a file.
#[derive(Clone)]
pub(super) struct ClassRef {
    pub(super) file: Rc<File>,
    pub(super) index: usize,
}

impl ClassRef {
    pub(super) fn class(&self) -> &Class {
        self.file.class(self.index)
    }
    pub(super) fn place(&self) -> Place {
        Place::new(&self.file.source, self.class().name_at.clone())
    }
    pub(super) fn same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.file, &other.file) && self.index == other.index
    }
}

/// A class with all it inherits.
pub(super) struct Lineage {
    /// Itself first, in the order in which Python looks for names.
    pub(super) classes: Vec<ClassRef>,
    /// `FlowSpec` is among its bases.
    pub(super) is_flow: bool,
    /// Bases that are not read: where, and what they are called.
    pub(super) unknown: Vec<(Place, String)>,
    /// Metaflow's own bases other than `FlowSpec`, such as `FlowMutator`.
    pub(super) metaflow: Vec<String>,
}

pub(super) fn lineage(loader: &Loader<'_>, class: &ClassRef) -> Lineage {
    let mut lineage = Lineage {
        classes: Vec::new(),
        is_flow: false,
        unknown: Vec::new(),
        metaflow: Vec::new(),
    };
    lineage.classes = linearize(loader, class, &mut lineage, BASES_MAX);
    lineage
}

fn linearize(
    loader: &Loader<'_>,
    class: &ClassRef,
    lineage: &mut Lineage,
    depth: usize,
) -> Vec<ClassRef> {
    let mut bases: Vec<ClassRef> = Vec::new();
    let mut orders: Vec<Vec<ClassRef>> = Vec::new();
    let start = class.class().start;
    for base in &class.class().bases {
        let place = || Place::new(&class.file.source, base.at.clone());
        let name = || crate::yaml::shorten(class.file.source.slice(base.at.clone())).to_string();
        let Some(names) = base.dotted() else {
            // `Generic[T]` brings nothing.
            if !matches!(base.kind, ExprKind::Subscript(..)) {
                lineage.unknown.push((place(), name()));
            }
            continue;
        };
        match loader.resolve(&class.file, &names, start) {
            Symbol::Metaflow(name) if name == "FlowSpec" => lineage.is_flow = true,
            Symbol::Metaflow(name) => lineage.metaflow.push(name),
            Symbol::Class(file, index) => {
                let base = ClassRef { file, index };
                if depth == 0 || base.same(class) || !loader.may_follow() {
                    lineage.unknown.push((place(), name()));
                } else {
                    orders.push(linearize(loader, &base, lineage, depth - 1));
                    bases.push(base);
                }
            }
            Symbol::Foreign(path) if packages::is_plain(&path) => {}
            Symbol::Undefined if is_builtin(&names) => {}
            _ => lineage.unknown.push((place(), name())),
        }
    }
    orders.push(bases);
    let mut order = vec![class.clone()];
    order.extend(merge(orders));
    order
}

/// Classes of Python itself, which bring neither steps nor parameters.
fn is_builtin(names: &[&str]) -> bool {
    let [name] = names else {
        return false;
    };
    let plain = [
        "object", "dict", "list", "tuple", "set", "str", "int", "float", "type",
    ];
    plain.contains(name) || name.ends_with("Error") || name.ends_with("Exception")
}

/// Python's order of base classes (C3); where that has no answer, the order in which they are written.
fn merge(mut orders: Vec<Vec<ClassRef>>) -> Vec<ClassRef> {
    let mut merged: Vec<ClassRef> = Vec::new();
    loop {
        orders.retain(|it| !it.is_empty());
        let Some(first) = orders.first() else {
            return merged;
        };
        let good = orders.iter().map(|it| &it[0]).find(|head| {
            let in_tail = |it: &Vec<ClassRef>| it[1..].iter().any(|it| it.same(head));
            !orders.iter().any(in_tail)
        });
        let next = good.unwrap_or(&first[0]).clone();
        for order in &mut orders {
            order.retain(|it| !it.same(&next));
        }
        merged.push(next);
    }
}

impl Lineage {
    /// The members that count, with their classes: in the order of the text, bases first.
    pub(super) fn members(&self) -> Vec<(&ClassRef, &Member)> {
        let mut winners: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (rank, class) in self.classes.iter().enumerate() {
            for (place, member) in class.class().members.iter().enumerate() {
                let winner = winners.entry(&member.name).or_insert((rank, place));
                if winner.0 == rank {
                    winner.1 = place;
                }
            }
        }
        let mut members = Vec::new();
        for (rank, class) in self.classes.iter().enumerate().rev() {
            let mut own: Vec<&Member> = class
                .class()
                .members
                .iter()
                .enumerate()
                .filter(|(place, it)| winners[it.name.as_str()] == (rank, *place))
                .map(|(_, it)| it)
                .collect();
            own.sort_by_key(|it| it.at.start);
            members.extend(own.into_iter().map(|it| (class, it)));
        }
        members
    }
}

/// What a class is to Metaflow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flowness {
    Flow,
    /// A base is not known, and all else looks like a flow.
    Perhaps,
    No,
}

fn flowness(loader: &Loader<'_>, class: &ClassRef) -> Flowness {
    let lineage = lineage(loader, class);
    if lineage.is_flow {
        return Flowness::Flow;
    }
    let metaflow = |expr: &Expr| {
        let expr = expr.call().map_or(expr, |it| &it.function);
        let symbol = expr
            .dotted()
            .map(|names| loader.resolve(&class.file, &names, usize::MAX));
        matches!(symbol, Some(Symbol::Metaflow(_)))
    };
    let looks = |class: &ClassRef| {
        class.class().decorators.iter().any(|it| {
            let name = it.call().map_or(it, |it| &it.function).dotted();
            let known = name.and_then(|it| super::known::decorator(it[it.len() - 1]));
            metaflow(it) && known.is_some_and(|it| it.target == Target::Flow)
        }) || class.class().members.iter().any(|it| match &it.kind {
            MemberKind::Function(it) => it.decorators.iter().any(metaflow),
            MemberKind::Value(it) => it.call().is_some() && metaflow(it),
            _ => false,
        })
    };
    match !lineage.unknown.is_empty() && lineage.classes.iter().any(looks) {
        true => Flowness::Perhaps,
        false => Flowness::No,
    }
}

/// The flow that a file is about.
pub(super) struct Chosen {
    pub(super) class: ClassRef,
    /// The file makes an object of it when it is run.
    pub(super) instantiated: bool,
}

/// `None`: there is no flow in the file, or (then it is reported) nobody can know which one is meant.
pub(super) fn choose(loader: &Loader<'_>, file: &Rc<File>, found: &mut Found) -> Option<Chosen> {
    let flows: Vec<ClassRef> = (0..file.module.classes.len())
        .map(|index| ClassRef {
            file: Rc::clone(file),
            index,
        })
        .filter(|it| flowness(loader, it) != Flowness::No)
        .collect();
    // First what surely runs, then functions that something calls, then all functions if no doubt can arise.
    for round in 0..3 {
        if round == 2 && flows.len() > 1 {
            break;
        }
        let mut run: Vec<(ClassRef, Place)> = Vec::new();
        for call in &file.module.calls {
            let in_round = match &call.in_function {
                None => round == 0,
                Some(function) => round == 2 || (round == 1 && loader.world().calls(function)),
            };
            if !in_round {
                continue;
            }
            let symbol = loader.resolve(file, &[call.name.as_str()], usize::MAX);
            let Symbol::Class(of, index) = symbol else {
                continue;
            };
            let class = ClassRef { file: of, index };
            let place = Place::new(&file.source, call.at.clone());
            let known = run.iter().any(|(it, _)| it.same(&class));
            if !known && flowness(loader, &class) != Flowness::No {
                run.push((class, place));
            }
        }
        match run.as_slice() {
            [] => {}
            [(class, _)] => {
                return Some(Chosen {
                    class: class.clone(),
                    instantiated: true,
                });
            }
            [(first, first_place), (second, second_place), ..] => {
                let message = format!(
                    "the file runs several flows, `{}` and `{}`",
                    first.class().name,
                    second.class().name
                );
                found.error_also(
                    second_place,
                    "metaflow.two_flows",
                    message,
                    (first_place, "and here"),
                    "keep one of them, and move the other flow to a file of its own",
                );
                return None;
            }
        }
    }
    unused(loader, &flows, found)
}

/// The flow of a file that makes no object of any.
fn unused(loader: &Loader<'_>, flows: &[ClassRef], found: &mut Found) -> Option<Chosen> {
    // A class that another one of the file inherits from is a base, not a flow of its own.
    let bases: Vec<ClassRef> = flows
        .iter()
        .flat_map(|it| lineage(loader, it).classes.into_iter().skip(1))
        .collect();
    let is_base = |class: &ClassRef| bases.iter().any(|it| it.same(class));
    let leaves: Vec<&ClassRef> = flows.iter().filter(|it| !is_base(it)).collect();
    match leaves.as_slice() {
        [] => None,
        [class] => {
            let name = &class.class().name;
            found.warning(
                &class.place(),
                "metaflow.not_instantiated",
                format!("nothing in the file runs the flow `{name}`"),
                format!("end the file with `if __name__ == \"__main__\":` and, below it, `{name}()`: Metaflow needs that"),
            );
            Some(Chosen {
                class: (*class).clone(),
                instantiated: false,
            })
        }
        [first, second, ..] => {
            let message = format!(
                "the file has several flows, `{}` and `{}`, and runs none of them",
                first.class().name,
                second.class().name
            );
            found.error_also(
                &second.place(),
                "metaflow.two_flows",
                message,
                (&first.place(), "and here"),
                format!(
                    "end the file with `if __name__ == \"__main__\":` and, below it, the one that is meant, such as `{}()`",
                    first.class().name
                ),
            );
            None
        }
    }
}
