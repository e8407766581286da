//! One daemon per data directory: a lock that the system releases when the process dies.

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Held as long as it lives.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

/// Makes the data directory if need be, and takes its lock.
pub(crate) fn take(data: &Path) -> anyhow::Result<DataLock> {
    // Parameters and outputs are in there: nobody else needs to read them.
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(0o700);
    folder.create(data).with_context(|| {
        format!(
            "cannot make the data directory {}; name one that can be written with --data",
            data.display()
        )
    })?;
    let path = data.join("daemon.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot write in the data directory {}; make it writable for this user, or name another with --data",
                data.display()
            )
        })?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        file.read_to_string(&mut holder).unwrap_or_default();
        bail!(
            "another daemon (process {}) uses {}; stop it first, or name another directory with --data",
            holder.trim(),
            data.display()
        );
    }
    file.set_len(0)?;
    write!(file, "{}", std::process::id())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(DataLock { _file: file })
}

/// The name under which this directory's daemon holds the lease: made once, the same ever after.
pub(crate) fn instance_name(data: &Path) -> anyhow::Result<String> {
    let path = data.join("instance");
    if let Ok(name) = std::fs::read_to_string(&path)
        && !name.trim().is_empty()
    {
        return Ok(name.trim().to_owned());
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("{}-{}", host.trim(), uuid::Uuid::new_v4().simple());
    std::fs::write(&path, &name).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(name)
}
