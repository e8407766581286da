//! The code package of jobs on other machines: the flow's code and our Python, the same bytes for the same files.

use super::files::Files;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use tar::{Builder, Header};

/// As for packages that deployments bring.
const BYTES_MAX: u64 = 256 << 20;
const FILES_MAX: usize = 20_000;

/// What Metaflow itself takes along of what lies beside a flow; more by `METAFLOW_DEFAULT_PACKAGE_SUFFIXES`.
const SUFFIXES: &str = ".py,.R,.RDS";

/// How deep folders are looked into: a link may lead back up.
const DEPTH_MAX: usize = 20;

/// `is_snapshot`: what is no link was copied when the flow was registered.
///
/// # Errors
/// What cannot be packed, and the cure.
pub(super) fn pack(root: &Path, flow_file: &Path, is_snapshot: bool) -> Result<Vec<u8>, String> {
    let suffixes = std::env::var("METAFLOW_DEFAULT_PACKAGE_SUFFIXES").ok();
    let suffixes = suffixes.filter(|it| !it.is_empty());
    let suffixes = suffixes.as_deref().unwrap_or(SUFFIXES);
    let suffixes: Vec<_> = suffixes.split(',').map(str::trim).collect();
    let mut found = Found {
        suffixes,
        files: BTreeMap::new(),
        bytes: 0,
    };
    found.look(root, Path::new(""), 0, !is_snapshot)?;
    found.add(flow_file, flow_file.strip_prefix(root).unwrap_or(flow_file))?;
    let failed = |error: std::io::Error| format!("cannot pack the code of the flow: {error}");
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, path) in &found.files {
        let content = std::fs::read(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        append(&mut builder, &Path::new("code").join(name), &content).map_err(failed)?;
    }
    for (name, content) in Files::each() {
        append(&mut builder, &Path::new("ext").join(name), content).map_err(failed)?;
    }
    let zipped = builder.into_inner().map_err(failed)?;
    zipped.finish().map_err(failed)
}

pub(super) fn sha256(content: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(content) {
        write!(text, "{byte:02x}").expect("strings take everything");
    }
    text
}

/// Without times and owners, so that the same files give the same bytes.
fn append<W: Write>(builder: &mut Builder<W>, name: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content)
}

struct Found<'a> {
    suffixes: Vec<&'a str>,
    files: BTreeMap<PathBuf, PathBuf>,
    bytes: u64,
}

impl Found<'_> {
    /// What was copied at registration is taken whatever it is called; of what is linked, that which Metaflow takes.
    fn look(
        &mut self,
        folder: &Path,
        name: &Path,
        depth: usize,
        is_beside: bool,
    ) -> Result<(), String> {
        let entries = std::fs::read_dir(folder)
            .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let is_beside = is_beside || path.is_symlink();
            let inner = name.join(entry.file_name());
            let Some(text) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if path.is_dir() {
                let is_left_out = text.starts_with('.')
                    || text == "__pycache__"
                    || path.join("pyvenv.cfg").is_file()
                    || depth >= DEPTH_MAX;
                if !is_left_out {
                    self.look(&path, &inner, depth + 1, is_beside)?;
                }
            } else if path.is_file()
                && (!is_beside || self.suffixes.iter().any(|it| text.ends_with(it)))
            {
                self.add(&path, &inner)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, name: &Path) -> Result<(), String> {
        if self.files.contains_key(name) {
            return Ok(());
        }
        self.bytes += std::fs::metadata(path).map_or(0, |it| it.len());
        if self.bytes > BYTES_MAX || self.files.len() == FILES_MAX {
            return Err(format!(
                "the code beside the flow is too much for a job: more than {} MiB or {FILES_MAX} files by {}; keep \
                 data and environments in folders whose names begin with a dot, or elsewhere",
                BYTES_MAX >> 20,
                path.display()
            ));
        }
        self.files.insert(name.to_owned(), path.to_owned());
        Ok(())
    }
}
