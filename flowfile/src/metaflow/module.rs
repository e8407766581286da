//! Python files and how they find each other: what a name means, followed through imports.

use super::python::{self, Failure};
use super::syntax::{Binding, Class, Expr, Function, Import, Meaning, Module};
use super::world::World;
use crate::file::FILE_BYTES_MAX;
use crate::source::Source;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// How many local modules one flow may draw in.
const MODULES_MAX: usize = 1000;
/// Names that lead to names that lead to names: longer chains are circles.
const HOPS_MAX: usize = 32;

/// A Python file that parses.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) source: Arc<Source>,
    pub(super) module: Module,
    /// Places in [`Module::bindings`], in order.
    names: HashMap<String, Vec<usize>>,
}

impl File {
    pub(super) fn new(path: &Path, name: &str, text: &str) -> Result<Self, (Arc<Source>, Failure)> {
        let source = Source::new(name, text);
        let module = match python::parse(text) {
            Ok(module) => module,
            Err(failure) => return Err((source, failure)),
        };
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, it) in module.bindings.iter().enumerate() {
            names.entry(it.name.clone()).or_default().push(index);
        }
        Ok(Self {
            path: path.to_owned(),
            source,
            module,
            names,
        })
    }

    pub(super) fn class(&self, index: usize) -> &Class {
        &self.module.classes[index]
    }

    /// The file gives the name a plain value somewhere.
    fn is_value(&self, name: &str) -> bool {
        let places = self.names.get(name).map_or(&[][..], Vec::as_slice);
        let mut meanings = places.iter().map(|&it| &self.module.bindings[it].meaning);
        meanings.any(|it| matches!(it, Meaning::Value(_)))
    }

    /// What a name stands for at a place of the file.
    fn binding(&self, name: &str, before: usize) -> Bound<'_> {
        let Some(places) = self.names.get(name) else {
            return Bound::Not;
        };
        let all = || places.iter().map(|&it| &self.module.bindings[it]);
        let mut found: Vec<&Binding> = all().filter(|it| it.at < before).collect();
        if found.is_empty() {
            found = all().collect();
        }
        let last = found[found.len() - 1];
        let is_value = |it: &Binding| matches!(it.meaning, Meaning::Value(_) | Meaning::Changed);
        match last.meaning {
            Meaning::Changed => Bound::Unclear("what it holds is changed while the file runs"),
            _ if !last.perhaps => Bound::To(last),
            // `try: from a import x` with another import in `except`: the first is the one that is meant.
            _ => match found.iter().find(|it| !is_value(it)) {
                Some(first) => Bound::To(first),
                None => Bound::Unclear("it is set under a condition"),
            },
        }
    }
}

enum Bound<'a> {
    To(&'a Binding),
    Unclear(&'static str),
    Not,
}

/// What a name means.
#[derive(Clone)]
pub(super) enum Symbol {
    /// A name of Metaflow, dotted; empty for `metaflow` itself.
    Metaflow(String),
    Class(Rc<File>, usize),
    Function(Rc<File>, usize),
    Value(Rc<File>, usize),
    /// A local file.
    Module(Rc<File>),
    /// A folder of modules, without a file of its own.
    Package(PathBuf),
    /// Something that is not read: `os.getenv`, dotted.
    Foreign(String),
    /// It has a meaning, but which one is not clear; why.
    Unclear(&'static str),
    /// No line gives it a meaning.
    Undefined,
}

impl Symbol {
    pub(super) fn function(file: &File, index: usize) -> &Function {
        &file.module.functions[index]
    }
    pub(super) fn value(file: &File, index: usize) -> &Expr {
        &file.module.values[index]
    }
}

/// Files that were read, shared by all flows of a folder. `None`: not there, or not Python.
#[derive(Default)]
pub(super) struct Cache {
    files: RefCell<BTreeMap<PathBuf, Option<Rc<File>>>>,
}

impl Cache {
    pub(super) fn keep(&self, file: &Rc<File>) {
        let path = file.path.clone();
        self.files.borrow_mut().insert(path, Some(Rc::clone(file)));
    }

    fn read(&self, path: &Path) -> Option<Rc<File>> {
        if let Some(known) = self.files.borrow().get(path) {
            return known.clone();
        }
        let read = || {
            let about = std::fs::metadata(path).ok()?;
            if !about.is_file() || about.len() > FILE_BYTES_MAX {
                return None;
            }
            let name = path.display().to_string();
            let text = super::encoding::decode(&name, std::fs::read(path).ok()?).ok()?;
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            File::new(path, &name, text).ok().map(Rc::new)
        };
        let file = read();
        self.files
            .borrow_mut()
            .insert(path.to_owned(), file.clone());
        file
    }
}

/// Finds modules as Python does that runs the flow file: beside it.
pub(super) struct Loader<'a> {
    cache: &'a Cache,
    root: PathBuf,
    /// Without a folder nothing is looked for.
    on_disk: bool,
    /// How many more names are followed for this flow: modules can import each other.
    names: Cell<u32>,
    /// How many more values are worked out: constants can double each other.
    values: Cell<u32>,
    world: OnceCell<World>,
}

const NAMES_MAX: u32 = 1_000_000;
const VALUES_MAX: u32 = 100_000;

impl<'a> Loader<'a> {
    pub(super) fn new(cache: &'a Cache, entry: &Path, on_disk: bool) -> Self {
        Self {
            cache,
            root: entry.parent().unwrap_or_else(|| Path::new("")).to_owned(),
            on_disk,
            names: Cell::new(NAMES_MAX),
            values: Cell::new(VALUES_MAX),
            world: OnceCell::new(),
        }
    }

    /// Says which file is the flow's.
    pub(super) fn begin(&self, entry: &Rc<File>) {
        self.world.get_or_init(|| {
            let mut files = vec![Rc::clone(entry)];
            files.extend(self.closure(entry));
            World::new(files)
        });
    }

    /// All that the flow draws in; after [`Loader::begin`].
    pub(super) fn world(&self) -> &World {
        self.world.get().expect("the flow's file is known")
    }

    /// Whether one more name may be followed.
    pub(super) fn may_follow(&self) -> bool {
        spend(&self.names)
    }

    /// Whether one more value may be worked out.
    pub(super) fn may_work_out(&self) -> bool {
        spend(&self.values)
    }

    /// What a dotted name means in a file, at a place.
    pub(super) fn resolve(&self, file: &Rc<File>, names: &[&str], before: usize) -> Symbol {
        self.resolve_within(file, names, before, HOPS_MAX)
    }

    fn resolve_within(
        &self,
        file: &Rc<File>,
        names: &[&str],
        before: usize,
        hops: usize,
    ) -> Symbol {
        let Some((first, rest)) = names.split_first() else {
            return Symbol::Undefined;
        };
        if hops == 0 || !self.may_follow() {
            return Symbol::Unclear("it is defined by itself");
        }
        let binding = match file.binding(first, before) {
            Bound::To(binding) => binding,
            Bound::Unclear(why) => return Symbol::Unclear(why),
            Bound::Not => return self.without_binding(file, names, hops),
        };
        if let Some(found) = self.starred(file, names, (binding.at, before), hops) {
            return found;
        }
        if self.world().is_replaced(file, first) {
            return Symbol::Unclear("another module sets it");
        }
        let found = self.meaning(file, binding, hops);
        self.members(found, rest, hops)
    }

    fn meaning(&self, file: &Rc<File>, binding: &Binding, hops: usize) -> Symbol {
        match binding.meaning {
            Meaning::Class(index) => Symbol::Class(Rc::clone(file), index),
            Meaning::Function(index) => Symbol::Function(Rc::clone(file), index),
            Meaning::Value(index) => {
                let value = Symbol::value(file, index);
                // `Base = other.Base`.
                match value.dotted() {
                    Some(names) => {
                        match self.resolve_within(file, &names, value.at.start, hops - 1) {
                            Symbol::Undefined => Symbol::Value(Rc::clone(file), index),
                            found => found,
                        }
                    }
                    None => Symbol::Value(Rc::clone(file), index),
                }
            }
            Meaning::Changed => Symbol::Unclear("what it holds is changed while the file runs"),
            Meaning::Star(_) => Symbol::Unclear("a `*` may bring it"),
            Meaning::Import(index, which) => {
                self.imported(file, &file.module.imports[index], which, hops)
            }
        }
    }

    /// All that a name may mean, wherever the file sets it.
    pub(super) fn meanings(&self, file: &Rc<File>, names: &[&str]) -> Vec<Symbol> {
        let mut found = Vec::new();
        let places = file.names.get(names[0]).map_or(&[][..], Vec::as_slice);
        for &place in places {
            let binding = &file.module.bindings[place];
            if matches!(binding.meaning, Meaning::Changed) {
                continue;
            }
            let first = self.meaning(file, binding, HOPS_MAX);
            if names.len() > 1 {
                found.push(match self.members(first.clone(), &names[1..], HOPS_MAX) {
                    // An attribute of a value or function.
                    Symbol::Unclear(_) => first,
                    found => found,
                });
            } else {
                found.push(first);
            }
        }
        if places.is_empty() {
            found.push(self.without_binding(file, names, HOPS_MAX));
        }
        found
    }

    /// What an import in the body of a class brings.
    pub(super) fn import(&self, file: &Rc<File>, index: usize, which: Option<usize>) -> Symbol {
        self.imported(file, &file.module.imports[index], which, HOPS_MAX)
    }

    /// What a `*` brings that comes after the name was set, and before it is read.
    fn starred(
        &self,
        file: &Rc<File>,
        names: &[&str],
        (after, before): (usize, usize),
        hops: usize,
    ) -> Option<Symbol> {
        let stars = file.names.get("*")?;
        let between = stars
            .iter()
            .rev()
            .map(|&it| &file.module.bindings[it])
            .filter(|it| it.at > after && it.at < before);
        for star in between {
            let Meaning::Star(index) = star.meaning else {
                continue;
            };
            match self.of_star(file, &file.module.imports[index], names, hops) {
                Symbol::Undefined => {}
                // It most likely has no such name, and what has one in the file is more than a value.
                Symbol::Foreign(_) if !file.is_value(names[0]) => {}
                Symbol::Foreign(_) => return Some(Symbol::Unclear("a `*` below may set it")),
                found => return Some(found),
            }
        }
        None
    }

    fn of_star(&self, file: &Rc<File>, import: &Import, names: &[&str], hops: usize) -> Symbol {
        if is_metaflow(&import.module) && import.level == 0 {
            return match super::known::is_name(names[0]) {
                true => Symbol::Metaflow(names.join(".")),
                false => Symbol::Undefined,
            };
        }
        match self.module(file, &import.module, import.level) {
            Some(Symbol::Module(other)) if names[0].starts_with('_') || hops == 0 => {
                drop(other);
                Symbol::Undefined
            }
            Some(Symbol::Module(other)) => self.resolve_within(&other, names, usize::MAX, hops - 1),
            _ => Symbol::Foreign(names.join(".")),
        }
    }

    /// The name is not set in the file, but a `*` may have brought it.
    fn without_binding(&self, file: &Rc<File>, names: &[&str], hops: usize) -> Symbol {
        let stars = file.module.imports.iter().rev().filter(|it| {
            let names = it.names.as_deref().unwrap_or_default();
            names.iter().any(|it| it.name == "*")
        });
        let mut unread = false;
        for import in stars {
            match self.of_star(file, import, names, hops) {
                Symbol::Undefined => {}
                Symbol::Foreign(_) => unread = true,
                found => return found,
            }
        }
        match unread {
            true => Symbol::Foreign(names.join(".")),
            false => Symbol::Undefined,
        }
    }

    fn imported(
        &self,
        file: &Rc<File>,
        import: &Import,
        which: Option<usize>,
        hops: usize,
    ) -> Symbol {
        let Some(which) = which else {
            let full = import.module.as_str();
            let bound = match import.aliased {
                true => full,
                false => full.split('.').next().unwrap_or(full),
            };
            if is_metaflow(bound) {
                return Symbol::Metaflow(bound["metaflow".len()..].trim_matches('.').to_owned());
            }
            return self
                .module(file, bound, 0)
                .unwrap_or_else(|| Symbol::Foreign(bound.to_owned()));
        };
        let name = &import.names.as_ref().expect("names were imported")[which].name;
        if is_metaflow(&import.module) && import.level == 0 {
            // `from metaflow.decorators import step` means the same as `from metaflow import step`.
            return Symbol::Metaflow(name.clone());
        }
        match self.module(file, &import.module, import.level) {
            Some(module) => self.members(module, &[name], hops),
            None => Symbol::Foreign(format!("{}.{name}", import.module)),
        }
    }

    /// Goes on from a module or package to what is in it.
    fn members(&self, mut found: Symbol, names: &[&str], hops: usize) -> Symbol {
        for (place, name) in names.iter().enumerate() {
            found = match found {
                Symbol::Metaflow(path) if path.is_empty() => Symbol::Metaflow((*name).to_owned()),
                // `metaflow.plugins.x.y`: what counts is the last name.
                Symbol::Metaflow(_) => Symbol::Metaflow((*name).to_owned()),
                Symbol::Module(file) => {
                    match self.resolve_within(&file, &names[place..=place], usize::MAX, hops - 1) {
                        Symbol::Undefined => match self.beside(&file, name) {
                            Some(module) => module,
                            None => return Symbol::Foreign(names.join(".")),
                        },
                        found => found,
                    }
                }
                Symbol::Package(folder) => match self.find(&folder.join(name)) {
                    Some(module) => module,
                    None => return Symbol::Foreign(names.join(".")),
                },
                Symbol::Foreign(path) => Symbol::Foreign(format!("{path}.{name}")),
                other @ (Symbol::Unclear(_) | Symbol::Undefined) => return other,
                Symbol::Class(..) | Symbol::Function(..) | Symbol::Value(..) => {
                    return Symbol::Unclear("it is an attribute");
                }
            };
        }
        found
    }

    /// A module of the package whose `__init__.py` a file is.
    fn beside(&self, file: &File, name: &str) -> Option<Symbol> {
        match file.path.file_name()?.to_str()? {
            "__init__.py" => self.find(&file.path.parent()?.join(name)),
            _ => None,
        }
    }

    /// A dotted module as a file sees it.
    fn module(&self, file: &File, dotted: &str, level: u32) -> Option<Symbol> {
        let mut path = match level {
            0 => self.root.clone(),
            _ => {
                let mut folder = file.path.parent()?;
                for _ in 1..level {
                    folder = folder.parent()?;
                }
                folder.to_owned()
            }
        };
        path.extend(dotted.split('.').filter(|it| !it.is_empty()));
        self.find(&path)
    }

    /// The module at a path without its ending.
    fn find(&self, path: &Path) -> Option<Symbol> {
        if !self.on_disk {
            return None;
        }
        let package = self.cache.read(&path.join("__init__.py"));
        if let Some(file) = package.or_else(|| self.cache.read(&with_py(path))) {
            return Some(Symbol::Module(file));
        }
        path.is_dir().then(|| Symbol::Package(path.to_owned()))
    }

    /// The local files that a file imports, and those that they import, in the order of their paths.
    pub(super) fn closure(&self, entry: &Rc<File>) -> Vec<Rc<File>> {
        let mut found: BTreeMap<PathBuf, Rc<File>> = BTreeMap::new();
        let mut todo = vec![Rc::clone(entry)];
        while let Some(file) = todo.pop() {
            for import in &file.module.imports {
                for it in self.files_of(&file, import) {
                    if it.path != entry.path
                        && found.len() < MODULES_MAX
                        && !found.contains_key(&it.path)
                    {
                        found.insert(it.path.clone(), Rc::clone(&it));
                        todo.push(it);
                    }
                }
            }
        }
        found.into_values().collect()
    }

    /// What Python reads for an import: each package on the way, the module, and names that are modules.
    fn files_of(&self, file: &File, import: &Import) -> Vec<Rc<File>> {
        let mut files = Vec::new();
        if import.level == 0 && is_metaflow(&import.module) {
            return files;
        }
        let mut add = |found: Option<Symbol>| {
            if let Some(Symbol::Module(file)) = found {
                files.push(file);
            }
        };
        let parts: Vec<&str> = import
            .module
            .split('.')
            .filter(|it| !it.is_empty())
            .collect();
        for end in 1..=parts.len() {
            let found = self.module(file, &parts[..end].join("."), import.level);
            let there = found.is_some();
            add(found);
            if !there {
                return files;
            }
        }
        for name in import.names.iter().flatten() {
            let dotted = match parts.is_empty() {
                true => name.name.clone(),
                false => format!("{}.{}", parts.join("."), name.name),
            };
            add(self.module(file, &dotted, import.level));
        }
        files
    }
}

fn spend(left: &Cell<u32>) -> bool {
    let before = left.get();
    left.set(before.saturating_sub(1));
    before > 0
}

fn with_py(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".py");
    name.into()
}

fn is_metaflow(module: &str) -> bool {
    module == "metaflow" || module.starts_with("metaflow.")
}
