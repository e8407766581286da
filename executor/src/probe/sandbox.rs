//! Gives up rights and becomes another program. The hidden subcommand `sandbox` of the daemon calls it.

use super::{powerless, read_only};
use crate::private;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Processor time, in seconds: more than a probe has by the clock unless it uses many cores.
const CPU_SECONDS_MAX: u64 = 120;

/// Memory that it may ask for: room for the largest libraries, and not for the machine's.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// The largest file it may write.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What could be taken away. Written to `held` in the folder before the program begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Files are written in the folder only.
    pub(crate) files: bool,
    /// There are no connections over TCP.
    pub(crate) tcp: bool,
}

/// Set when the mount namespace is nobody else's.
pub(crate) const OWN_MOUNTS: &str = "DALSEGNO_SANDBOX_OWN_MOUNTS";

/// The name of the file that lists what it is not to see, as JSON.
pub(crate) const HIDDEN: &str = "hidden";

/// The name of the file that says what held.
pub(crate) const HELD: &str = "held";

/// Becomes the program of `FOLDER PROGRAM ARGUMENTS…`, which may write nowhere but in the folder. Returns only
/// when that fails. What the kernel cannot take away stays; a probe's result says which.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let (Some(folder), Some(program)) = (arguments.next(), arguments.next()) else {
        return io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected FOLDER PROGRAM ARGUMENTS…",
        );
    };
    let folder = Path::new(&folder);
    limit(Resource::Cpu, CPU_SECONDS_MAX);
    limit(Resource::Fsize, FILE_BYTES_MAX);
    limit(Resource::Core, 0);
    limit(Resource::As, MEMORY_BYTES_MAX);
    private::close_inherited();
    let is_alone = std::env::var_os(OWN_MOUNTS).is_some();
    let hidden = std::fs::read(folder.join(HIDDEN)).unwrap_or_default();
    let hidden: Vec<PathBuf> = serde_json::from_slice(&hidden).unwrap_or_default();
    let is_read_only = is_alone && read_only::all_but(folder, &hidden).is_ok();
    // Whoever may mount could undo it.
    let is_held = is_alone && powerless::become_so().is_ok() && is_read_only;
    let mut taken = restrict(folder, is_read_only).unwrap_or_default();
    taken.files |= is_held;
    let told = serde_json::to_vec(&taken).expect("two flags");
    if let Err(error) = std::fs::write(folder.join(HELD), told) {
        return error;
    }
    Command::new(program)
        .args(arguments)
        .env_remove(OWN_MOUNTS)
        .exec()
}

/// It may be less already.
fn limit(resource: Resource, most: u64) {
    let now = rustix::process::getrlimit(resource);
    let most = now.maximum.map_or(most, |it| it.min(most));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    let _ = rustix::process::setrlimit(resource, limit);
}

fn restrict(folder: &Path, has_own_memory: bool) -> Result<Taken, landlock::RulesetError> {
    let abi = ABI::V5;
    let open = |path: &Path| PathFd::new(path).ok();
    // Programs expect to be able to write here.
    let mut devices = vec!["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];
    if has_own_memory {
        devices.push(read_only::SHARED_MEMORY);
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?;
    if let Some(folder) = open(folder) {
        rules = rules.add_rule(PathBeneath::new(folder, AccessFs::from_all(abi)))?;
    }
    for device in devices.iter().filter_map(|it| open(Path::new(it))) {
        rules = rules.add_rule(PathBeneath::new(device, AccessFs::from_all(abi)))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Taken {
            files: true,
            tcp: true,
        },
        // An older kernel: which of them it knows is not told.
        RulesetStatus::PartiallyEnforced => Taken {
            files: true,
            tcp: false,
        },
        RulesetStatus::NotEnforced => Taken::default(),
    })
}
