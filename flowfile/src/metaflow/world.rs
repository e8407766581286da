//! All files that a flow draws in, and what their code does while they are loaded.

use super::module::File;
use super::syntax::{Span, Stored, Unit};
use std::collections::HashSet;
use std::rc::Rc;

/// The flow's file and the local modules that it imports.
pub(super) struct World {
    files: Vec<Rc<File>>,
    /// Places in [`World::files`] and `Module::units` of the code that may run while the file is loaded.
    live: Vec<(usize, usize)>,
}

impl World {
    /// The first file is that of the flow.
    pub(super) fn new(files: Vec<Rc<File>>) -> Self {
        let mut names: HashSet<&str> = HashSet::new();
        let mut live = Vec::new();
        let mut sleeping: Vec<(usize, usize)> = Vec::new();
        for (place, file) in files.iter().enumerate() {
            for (index, unit) in file.module.units.iter().enumerate() {
                match &unit.woken_by {
                    None if place > 0 && unit.only_as_script => {}
                    None => {
                        names.extend(unit.names.iter().map(String::as_str));
                        live.push((place, index));
                    }
                    Some(_) => sleeping.push((place, index)),
                }
            }
        }
        loop {
            let before = live.len();
            sleeping.retain(|&(place, index)| {
                let unit: &Unit = &files[place].module.units[index];
                let wakes = unit.woken_by.as_deref().is_none_or(|it| names.contains(it));
                if wakes {
                    names.extend(unit.names.iter().map(String::as_str));
                    live.push((place, index));
                }
                !wakes
            });
            if live.len() == before {
                break;
            }
        }
        Self { files, live }
    }

    fn units(&self) -> impl Iterator<Item = (&Rc<File>, &Unit)> {
        self.live.iter().map(|&(place, index)| {
            let file = &self.files[place];
            (file, &file.module.units[index])
        })
    }

    /// Whether a function of this name may be called while the file is loaded.
    pub(super) fn calls(&self, name: &str) -> bool {
        self.units().any(|(_, it)| it.names.contains(name))
    }

    /// Calls that can change anything.
    pub(super) fn powers(&self) -> impl Iterator<Item = (&Rc<File>, &(String, Span))> {
        self.units()
            .flat_map(|(file, unit)| unit.powers.iter().map(move |it| (file, it)))
    }

    pub(super) fn stored(&self) -> impl Iterator<Item = (&Rc<File>, &Stored)> {
        self.units()
            .flat_map(|(file, unit)| unit.stored.iter().map(move |it| (file, it)))
    }

    /// Where a name is handed on to who may change what it means.
    pub(super) fn kept(&self, name: &str) -> Option<(&Rc<File>, &Span)> {
        self.units()
            .find_map(|(file, unit)| unit.kept.get(name).map(|at| (file, at)))
    }

    /// Whether another module may give the name another value: `module.NAME = …`.
    pub(super) fn is_replaced(&self, file: &Rc<File>, name: &str) -> bool {
        !Rc::ptr_eq(file, &self.files[0]) && self.stored().any(|(_, it)| it.name == name)
    }

    /// Whether a list or dict of this name may be changed: under its own name, or under one that means the same.
    /// `depth`: how deep lists and dicts nest in it, itself counted.
    pub(super) fn may_change(&self, name: &str, depth: usize) -> bool {
        // Each name, and whether what is inside it counts, too.
        let mut names: Vec<(&str, bool)> = vec![(name, depth > 1)];
        let mut at = 0;
        while let Some(&(name, inside)) = names.get(at) {
            at += 1;
            let looked = || self.units().any(|(_, it)| it.inside.contains(name));
            if self.kept(name).is_some() || (inside && looked()) {
                return true;
            }
            for (one, other, held) in self.units().flat_map(|(_, it)| &it.links) {
                let next = match (one == name, other == name) {
                    // What a flat list holds cannot change.
                    (true, false) if *held && depth < 2 => continue,
                    (true, false) if *held => (other.as_str(), depth > 2),
                    (true, false) => (other.as_str(), inside),
                    (false, true) => (one.as_str(), inside || *held),
                    _ => continue,
                };
                if !names.contains(&next) {
                    names.push(next);
                }
            }
        }
        false
    }
}
