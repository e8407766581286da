//! From a file to a flow.

use super::class::{self, Chosen};
use super::declared::Declared;
use super::found::{Found, Place};
use super::graph;
use super::module::{Cache, File, Loader};
use super::options::Options;
use super::python::Failure;
use super::sidecar::Sidecar;
use super::{reading, spec, with};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::file::{FILE_BYTES_MAX, FlowFile, too_large};
use crate::source::Source;
use dalsegno_scheduler::metaflow::Dynamic;
use dalsegno_scheduler::spec::FlowSpec;
use dalsegno_scheduler::{Flow, FlowError, Version};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Room on the stack for the deepest tree that is accepted.
const STACK: usize = 32 << 20;

/// By their keys.
pub(super) type PromisesAt = BTreeMap<String, Range<usize>>;

/// What reading a Metaflow file tells beside the flow.
#[derive(Clone, Debug)]
pub struct MetaflowFile {
    /// Files beside it that it imports, directly or not, in the order of their paths. A change of one of them is
    /// a new version of the flow.
    pub closure: Vec<PathBuf>,
    /// Files that its configs are read from unless a deployment says otherwise, as far as reading tells: as they are
    /// written, from the file's own folder.
    pub config_files: Vec<PathBuf>,
    /// Something that matters can only be known by running the file: [`MetaflowFile::dynamic`] says what. Until
    /// then the flow has no schedule and no trigger.
    pub needs_probe: bool,
    pub dynamic: Vec<Dynamic>,
    /// The steps are known. If not, the flow has a single step that stands for them, and cannot be run before a
    /// probe.
    pub complete: bool,
    /// The file makes an object of the flow when it is run; without that, no command of Metaflow works.
    pub instantiated: bool,
    /// The version without what [`MetaflowFile::sidecar`] says: what Metaflow says of the flow holds for as long as this does.
    pub version_of_code: Version,
    pub(super) sidecar: Option<Arc<Sidecar>>,
    pub(super) declared: Arc<Declared>,
}

impl MetaflowFile {
    /// The text of the file beside it that holds its promises, alerts and owner.
    pub fn sidecar(&self) -> Option<&str> {
        self.sidecar.as_ref().map(|it| it.source.text.as_str())
    }

    pub(crate) fn sidecar_source(&self) -> Option<&Arc<Source>> {
        self.sidecar.as_ref().map(|it| &it.source)
    }

    /// Where the step of this name is defined; `None` for one of a module beside the file, or if there is no
    /// readable text.
    pub fn line_of(&self, step: &str) -> Option<u32> {
        let step = self.declared.steps.iter().find(|it| it.name == step)?;
        let here = step.place.source.name == self.declared.place.source.name;
        Some(step.place.line()).filter(|line| here && *line > 0)
    }
}

/// Reads a Metaflow file.
///
/// # Errors
/// When the file cannot be read or is no Python, when no flow is in it, and when anything is wrong with the flow:
/// all findings, warnings included.
pub fn read(path: &Path, options: &Options) -> Result<FlowFile, Diagnostics> {
    let cache = Cache::default();
    match read_with(path, options, &cache) {
        Outcome::Flow(file) => Ok(*file),
        Outcome::Refused(found, _) => Err(found),
        Outcome::NotAFlow => Err(no_flow(&path.display().to_string()).into()),
    }
}

/// Reads the text of a Metaflow file; `path` is where it would lie, and modules beside it are read from there.
///
/// # Errors
/// As [`read`].
pub fn read_text(path: &Path, text: &str, options: &Options) -> Result<FlowFile, Diagnostics> {
    let cache = Cache::default();
    match read_source(path, text, options, &cache) {
        Outcome::Flow(file) => Ok(*file),
        Outcome::Refused(found, _) => Err(found),
        Outcome::NotAFlow => Err(no_flow(&path.display().to_string()).into()),
    }
}

/// What a Python file turned out to be.
pub(crate) enum Outcome {
    Flow(Box<FlowFile>),
    /// The flow is refused. `true`: the file makes an object of it.
    Refused(Diagnostics, bool),
    NotAFlow,
}

pub(crate) fn read_with(path: &Path, options: &Options, cache: &Cache) -> Outcome {
    let name = path.display().to_string();
    let text = crate::folder::raw(path).and_then(|it| super::encoding::decode(&name, it));
    match text {
        Ok(text) => read_source(path, &text, options, cache),
        Err(found) => Outcome::Refused(found, true),
    }
}

fn read_source(path: &Path, text: &str, options: &Options, cache: &Cache) -> Outcome {
    let name = path.display().to_string();
    if text.len() as u64 > FILE_BYTES_MAX {
        return Outcome::Refused(too_large(&name, text.len() as u64).into(), true);
    }
    stacker::maybe_grow(STACK / 2, STACK, || {
        read_python(path, &name, text, options, cache)
    })
}

fn read_python(path: &Path, name: &str, text: &str, options: &Options, cache: &Cache) -> Outcome {
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = match File::new(path, name, bare) {
        Ok(file) => Rc::new(file),
        Err(_) if !bare.contains("metaflow") => return Outcome::NotAFlow,
        Err((source, failure)) => {
            return Outcome::Refused(not_python(&source, failure).into(), true);
        }
    };
    cache.keep(&file);
    let loader = Loader::new(cache, path, path.is_absolute() || path.exists());
    loader.begin(&file);
    let mut found = Found::default();
    let Some(chosen) = class::choose(&loader, &file, &mut found) else {
        return match found.diagnostics.is_empty() {
            true => Outcome::NotAFlow,
            false => Outcome::Refused(found.diagnostics.into(), true),
        };
    };
    let instantiated = chosen.instantiated;
    let sidecar = match Sidecar::beside(path) {
        Ok(it) => it,
        Err(found) => return Outcome::Refused(found, instantiated),
    };
    match flow(&loader, &file, &chosen, text, options, (sidecar, found)) {
        Ok(flow) => Outcome::Flow(Box::new(flow)),
        Err(found) => Outcome::Refused(found, instantiated),
    }
}

fn flow(
    loader: &Loader<'_>,
    file: &Rc<File>,
    chosen: &Chosen,
    text: &str,
    options: &Options,
    (sidecar, mut found): (Option<Arc<Sidecar>>, Found),
) -> Result<FlowFile, Diagnostics> {
    let mut declared = reading::read(loader, &chosen.class, &mut found);
    relative_imports(file, &mut found);
    with::attach(&mut declared, &options.with, &mut found);
    let name_at = declared.place.at.clone();
    let (flow, declared, promises_at) = finish(declared, options, sidecar.as_deref(), &mut found)?;
    let modules = loader.closure(file);
    let texts = modules.iter().map(|it| it.source.text.as_str());
    let version_of_code = version([text].into_iter().chain(texts), options);
    Ok(FlowFile {
        flow: Arc::new(flow),
        version: with_sidecar(&version_of_code, sidecar.as_deref(), options),
        source: text.to_owned(),
        name_at,
        schedules_at: Vec::new(),
        promises_at,
        resources_at: BTreeMap::new(),
        mentions: Vec::new(),
        warnings: found.diagnostics.into(),
        metaflow: Some(MetaflowFile {
            closure: modules.iter().map(|it| it.path.clone()).collect(),
            config_files: found.config_files.iter().map(PathBuf::from).collect(),
            needs_probe: !found.dynamic.is_empty(),
            dynamic: found.dynamic,
            complete: declared.complete,
            instantiated: chosen.instantiated,
            version_of_code,
            sidecar,
            declared: Arc::new(declared),
        }),
    })
}

/// The flow, what it was made of, and where the sidecar has its promises; all that is wrong if it cannot be.
pub(super) fn finish(
    mut declared: Declared,
    options: &Options,
    sidecar: Option<&Sidecar>,
    found: &mut Found,
) -> Result<(Flow, Declared, PromisesAt), Diagnostics> {
    let shape = match declared.complete {
        true => graph::check(&mut declared, found),
        false => {
            // Steps of an unknown base may be missing, so nothing can be held against those that are seen.
            let mut tried = Found::default();
            let shape = graph::check(&mut declared, &mut tried);
            declared.complete = shape.is_some();
            if shape.is_none() {
                found.unknown(
                    &declared.place,
                    "the steps",
                    "a base class may have more of them",
                );
            }
            shape
        }
    };
    let mut spec = spec::build(&declared, shape.as_ref(), options, found);
    let promises_at = sidecar.map_or_else(PromisesAt::default, |it| {
        it.apply(&mut spec, declared.complete, found)
    });
    hold_back_promises(&mut spec, &declared.place, found);
    let wrong = |it: &Diagnostic| it.severity == crate::Severity::Error;
    if found.diagnostics.iter().any(wrong) {
        return Err(std::mem::take(&mut found.diagnostics).into());
    }
    match Flow::new(spec) {
        Ok(flow) => Ok((flow, declared, promises_at)),
        Err(errors) => {
            for error in &errors {
                match (error, sidecar) {
                    (FlowError::Sla { error }, Some(sidecar)) => {
                        let at = promises_at.get(&error.promise).cloned().unwrap_or(0..0);
                        let it =
                            Diagnostic::new(&sidecar.source, at, "flow.sla", error.to_string());
                        found.diagnostics.push(it.help(&error.cure));
                    }
                    _ => refused(&declared.place, error, found),
                }
            }
            Err(std::mem::take(&mut found.diagnostics).into())
        }
    }
}

/// Promises count from schedules, and of a flow that is not known yet there are none.
fn hold_back_promises(spec: &mut FlowSpec, place: &Place, found: &mut Found) {
    let has_some = !spec.slas.is_empty() || spec.steps.iter().any(|it| !it.slas.is_empty());
    if found.dynamic.is_empty() || !has_some {
        return;
    }
    spec.slas.clear();
    spec.steps.iter_mut().for_each(|it| it.slas.clear());
    let reason = "they count from when it runs, which is known only with all of the above";
    found.unknown(place, "the promises of the file beside it", reason);
    if let Some(metaflow) = &mut spec.metaflow {
        metaflow.dynamic.clone_from(&found.dynamic);
    }
}

/// What only the core finds wrong.
fn refused(place: &Place, error: &FlowError, found: &mut Found) {
    let (code, help) = match error {
        FlowError::TooManySteps(_) => (
            "metaflow.too_large",
            "make several flows of it, or one step with `foreach`",
        ),
        FlowError::TooDeep(_) => ("metaflow.nesting", "join two foreach into one over pairs"),
        _ => (
            "metaflow.unsupported_graph",
            "draw the steps in a simpler way",
        ),
    };
    found.error(place, code, error.to_string(), help);
}

fn relative_imports(file: &File, found: &mut Found) {
    if let Some(it) = file.module.imports.iter().find(|it| it.level > 0) {
        let message = "a flow file is run as a script, and scripts have no relative imports";
        let help = "name the module without the dot: what lies beside the file is found";
        let place = Place::new(&file.source, it.at.clone());
        found.warning(&place, "metaflow.relative_import", message, help);
    }
}

fn no_flow(name: &str) -> Diagnostic {
    let help = "a flow is a class like `class MyFlow(FlowSpec):`, with `from metaflow import FlowSpec, step` above";
    Diagnostic::of_file(
        name,
        "metaflow.no_flow",
        "there is no Metaflow flow in this file",
        help,
    )
}

fn not_python(source: &Arc<Source>, failure: Failure) -> Diagnostic {
    match failure {
        Failure::TooDeep => Diagnostic::of_file(
            &source.name,
            "metaflow.too_large",
            "an expression or block in the file nests too deep to be read",
            "make several statements of it",
        ),
        Failure::Syntax { at, message } => {
            let line = source.line_around(at.start);
            let (code, message, help) = match is_python_2(line) {
                true => (
                    "metaflow.python2",
                    "this is Python 2".to_owned(),
                    "rewrite it for Python 3: `print(…)`, `except Error as e:`; the tool `2to3` helps",
                ),
                false => (
                    "metaflow.syntax",
                    format!("this is not Python: {message}"),
                    "run `python -m py_compile` on the file; often a bracket, quote or colon before this place is missing",
                ),
            };
            Diagnostic::new(source, at, code, message).help(help)
        }
    }
}

/// Statements that only Python 2 knows.
fn is_python_2(line: &str) -> bool {
    let line = line.trim_start();
    let statement = |word: &str| {
        line.strip_prefix(word).is_some_and(|rest| {
            rest.starts_with([' ', '\t']) && !rest.trim_start().starts_with(['=', '(', ','])
        })
    };
    let except = line.starts_with("except ") && line.contains(',') && !line.contains('(');
    let raise = line.starts_with("raise ") && line.contains(", \"") && !line.contains('(');
    statement("print") || statement("exec") || except || raise
}

/// The version of a flow with what stands beside it; without that, it is what it always was.
pub(super) fn with_sidecar(
    code: &Version,
    sidecar: Option<&Sidecar>,
    options: &Options,
) -> Version {
    match sidecar {
        Some(it) => version([code.as_str(), &it.source.text].into_iter(), options),
        None => code.clone(),
    }
}

/// The first 16 hex digits of the SHA-256 over the texts and the options.
pub(super) fn version<'a>(texts: impl Iterator<Item = &'a str>, options: &Options) -> Version {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    let options = serde_json::to_string(options).expect("options are plain data");
    hash.update(options.as_bytes());
    let digest = hash.finalize();
    let mut hex = String::with_capacity(16);
    for byte in &digest[..8] {
        write!(hex, "{byte:02x}").expect("a string takes all that is written to it");
    }
    Version::new(hex)
}
