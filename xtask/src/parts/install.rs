//! Installing Debian packages.

use crate::shell;
use anyhow::{Result, bail};
use std::process::Command;

/// Installs a package when this is a Debian and we are root; otherwise says what to do.
pub(super) fn debian_package(package: &str) -> Result<()> {
    if !can_install() {
        bail!(
            "install it first: as root, apt-get install {package} (or your system's package of that name)"
        );
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-y"])
            .args(arguments);
        command
    };
    let install = ["install", "--no-install-recommends", package];
    // Package lists are often absent or old on a fresh machine; a first try without them is the faster one.
    if shell::quiet(&format!("installing {package}"), &mut apt(&install)).is_err() {
        shell::quiet("reading Debian's package lists", &mut apt(&["update"]))?;
        shell::quiet(&format!("installing {package}"), &mut apt(&install))?;
    }
    Ok(())
}

/// Whether [`debian_package`] can do its work here.
pub(super) fn can_install() -> bool {
    shell::is_root() && shell::on_path("apt-get").is_some()
}
