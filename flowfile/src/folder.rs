//! Flow files on disk.

use crate::calendars::{self, Calendars};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::file::{FILE_BYTES_MAX, FlowFile, parse_with, too_large};
use crate::metaflow::{self, Options};
use crate::neighbours;
use crate::source::Source;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Folders deeper than this are a loop or not ours.
const DEPTH_MAX: usize = 16;

/// Reads one flow file.
///
/// # Errors
/// As [`parse`], and when the file cannot be read, is larger than [`FILE_BYTES_MAX`], or is not UTF-8.
pub fn read(path: &Path) -> Result<FlowFile, Diagnostics> {
    read_with(path, &Options::of_environment())
}

/// As [`read`], with options for a Metaflow flow. A file beside such a flow stands for the flow.
///
/// # Errors
/// As [`read`].
pub fn read_with(path: &Path, options: &Options) -> Result<FlowFile, Diagnostics> {
    let path = &metaflow::flow_file(path);
    match is_python(path) {
        true => metaflow::read(path, options),
        false if metaflow::is_sidecar(path) => Err(metaflow::alone(path)),
        false => {
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            let calendars = Calendars::of(folder, None);
            parse_with(&path.display().to_string(), &text(path)?, &calendars)
        }
    }
}

/// The text of a flow file.
pub(crate) fn text(path: &Path) -> Result<String, Diagnostics> {
    utf8(&path.display().to_string(), raw(path)?)
}

/// What is in a flow file, before anything is made of it.
pub(crate) fn raw(path: &Path) -> Result<Vec<u8>, Diagnostics> {
    let name = path.display().to_string();
    match bytes(path) {
        Ok(Content::Bytes(bytes)) => Ok(bytes),
        Ok(Content::TooLarge(size)) => Err(too_large(&name, size).into()),
        Ok(Content::NotAFile) => {
            let help = "name a flow file, or a folder that holds some";
            let message = "this is not a regular file";
            Err(Diagnostic::of_file(&name, "flow.unreadable", message, help).into())
        }
        Err(error) => Err(unreadable(&name, &error).into()),
    }
}

pub(crate) fn utf8(name: &str, bytes: Vec<u8>) -> Result<String, Diagnostics> {
    String::from_utf8(bytes)
        .map_err(|error| not_text(name, error.as_bytes(), error.utf8_error().valid_up_to()).into())
}

fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "py")
}

/// Reads all flow files below a folder, in the order of their paths.
///
/// These are all files that end in `.yaml` or `.yml`, and those in `.py` that hold a Metaflow flow, in folders
/// within it too. Files in `.dalsegno.yaml` belong to the Metaflow flow beside them. Virtual environments of Python and folders of calendars are left out. Files and folders whose names begin with `.` or `_` are left out, and links to folders are
/// not followed. Two files with a flow of the same name are both refused, because nobody can know which one is
/// meant; so are flows that start each other for ever, and steps whose parameters do not fit the flow that they run.
pub fn read_dir(path: &Path) -> Vec<(PathBuf, Result<FlowFile, Diagnostics>)> {
    read_dir_with(path, |_| Options::of_environment())
}

/// As [`read_dir`], with options for each Metaflow file.
pub fn read_dir_with(
    path: &Path,
    options: impl Fn(&Path) -> Options,
) -> Vec<(PathBuf, Result<FlowFile, Diagnostics>)> {
    let (mut paths, mut files) = (Vec::new(), Vec::new());
    collect(path, 0, &mut paths, &mut files);
    paths.sort();
    let (sidecars, paths): (Vec<PathBuf>, Vec<PathBuf>) =
        paths.into_iter().partition(|it| metaflow::is_sidecar(it));
    let (python, yaml): (Vec<PathBuf>, Vec<PathBuf>) =
        paths.into_iter().partition(|it| is_python(it));
    files.extend(yaml.into_iter().map(|it| {
        let folder = it.parent().unwrap_or(path);
        let calendars = Calendars::of(folder, Some(path));
        let file =
            text(&it).and_then(|text| parse_with(&it.display().to_string(), &text, &calendars));
        (it, file)
    }));
    files.extend(metaflow::read_all(python, sidecars, options));
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    refuse_same_names(&mut files);
    neighbours::check_all(&mut files);
    files
}

fn collect(
    folder: &Path,
    depth: usize,
    paths: &mut Vec<PathBuf>,
    failed: &mut Vec<(PathBuf, Result<FlowFile, Diagnostics>)>,
) {
    let mut visit = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".")
                || name.as_encoded_bytes().starts_with(b"_")
            {
                continue;
            }
            let (path, kind) = (entry.path(), entry.file_type()?);
            let flow = path
                .extension()
                .is_some_and(|it| it == "yaml" || it == "yml" || it == "py");
            if kind.is_dir() && name == calendars::FOLDER && !holds_flows(&path) {
                continue;
            }
            if kind.is_dir() && depth < DEPTH_MAX && !is_environment(&path) {
                collect(&path, depth + 1, paths, failed);
            } else if flow && (kind.is_file() || (kind.is_symlink() && !path.is_dir())) {
                paths.push(path);
            }
        }
        Ok(())
    };
    if let Err(error) = visit() {
        let name = folder.display().to_string();
        failed.push((folder.to_owned(), Err(unreadable(&name, &error).into())));
    }
}

/// A folder that is only named like one of calendars must not make its flows vanish.
fn holds_flows(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_flow = |path: PathBuf| match bytes(&path) {
        Ok(Content::Bytes(bytes)) => bytes
            .split(|it| *it == b'\n')
            .any(|it| it.starts_with(b"flow:")),
        _ => false,
    };
    let yaml = |it: &PathBuf| it.extension().is_some_and(|it| it == "yaml" || it == "yml");
    entries.map(|it| it.path()).filter(yaml).any(is_flow)
}

/// A virtual environment of Python: full of files that are nobody's flows.
fn is_environment(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").exists() || folder.join("conda-meta").exists()
}

enum Content {
    Bytes(Vec<u8>),
    TooLarge(u64),
    NotAFile,
}

fn bytes(path: &Path) -> io::Result<Content> {
    // A pipe or device would be opened for ever.
    let size = match fs::metadata(path)? {
        it if it.is_file() => it.len(),
        _ => return Ok(Content::NotAFile),
    };
    if size > FILE_BYTES_MAX {
        return Ok(Content::TooLarge(size));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    Ok(match bytes.len() as u64 {
        size if size > FILE_BYTES_MAX => Content::TooLarge(size),
        _ => Content::Bytes(bytes),
    })
}

fn unreadable(name: &str, error: &io::Error) -> Diagnostic {
    let (message, help) = match error.kind() {
        io::ErrorKind::NotFound => (
            "there is no such file or folder".to_owned(),
            "check the path",
        ),
        io::ErrorKind::PermissionDenied => (
            "reading it is not permitted".to_owned(),
            "give the user that runs Dalsegno the right to read it",
        ),
        _ => (
            format!("it cannot be read: {error}"),
            "check the file and the disk",
        ),
    };
    Diagnostic::of_file(name, "flow.unreadable", message, help)
}

fn not_text(name: &str, bytes: &[u8], valid: usize) -> Diagnostic {
    const CODE: &str = "flow.not_utf8";
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Diagnostic::of_file(name, CODE, "the file is in UTF-16", "save it as UTF-8");
    }
    if bytes.contains(&0) {
        let help = "flow files are text in UTF-8; let names of other files end differently, or begin with `_`";
        return Diagnostic::of_file(name, CODE, "the file is binary", help);
    }
    let text = String::from_utf8_lossy(bytes);
    let source = Source::new(name, &text);
    let message = format!(
        "the byte 0x{:02x} is not UTF-8",
        bytes.get(valid).copied().unwrap_or_default()
    );
    Diagnostic::new(&source, valid..valid + '\u{fffd}'.len_utf8(), CODE, message)
        .help("save the file as UTF-8")
}

fn refuse_same_names(files: &mut [(PathBuf, Result<FlowFile, Diagnostics>)]) {
    let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, (_, file)) in files.iter().enumerate() {
        if let Ok(file) = file {
            by_name
                .entry(file.flow.name().to_string())
                .or_default()
                .push(place);
        }
    }
    for (name, places) in by_name.into_iter().filter(|(_, places)| places.len() > 1) {
        let paths: Vec<String> = places
            .iter()
            .map(|&it| files[it].0.display().to_string())
            .collect();
        for (this, &place) in places.iter().enumerate() {
            let Ok(file) = &files[place].1 else {
                continue;
            };
            let others: Vec<&str> = (0..paths.len())
                .filter(|it| *it != this)
                .map(|it| paths[it].as_str())
                .collect();
            let source = Source::new(&paths[this], &file.source);
            let message = format!("the flow `{name}` is in {} too", others.join(" and "));
            let diagnostic =
                Diagnostic::new(&source, file.name_at.clone(), "flow.same_flow", message)
                    .help("rename one of the flows, or remove one of the files");
            files[place].1 = Err(diagnostic.into());
        }
    }
}
