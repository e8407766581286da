//! The browser that reads our pages in tests.

use super::install::debian_package;
use crate::shell;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// A Chromium that starts: the one on `PATH`, else Debian's.
pub(crate) fn chromium() -> Result<PathBuf> {
    let found = || NAMES.iter().find_map(|name| shell::on_path(name));
    let browser = match found() {
        Some(browser) => browser,
        None => {
            debian_package("chromium")
                .context("the page tests need Chromium, which is not on PATH")?;
            found()
                .context("the package chromium is installed, yet there is no chromium on PATH")?
        }
    };
    let version = Command::new(&browser).arg("--version").output();
    match version {
        Ok(output) if output.status.success() => {
            eprintln!(
                "   {} at {}",
                String::from_utf8_lossy(&output.stdout).trim(),
                browser.display()
            );
            Ok(browser)
        }
        Ok(output) => bail!(
            "{} does not run: {}\nrepair it, or put another chromium first on PATH",
            browser.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ),
        Err(error) => bail!("{} does not start: {error}", browser.display()),
    }
}
