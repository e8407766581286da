//! `cargo xtask tidy`: house rules that a compiler does not know.

mod edges;
mod links;
mod migrations;
mod problem;
mod python;
mod reasons;
mod slug;
#[cfg(test)]
mod tests_folder;
mod walk;
mod words;

use crate::workspace::Workspace;
use anyhow::{Result, bail};

pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::read()?;
    let root = workspace.root();
    let mut problems = edges::check(&workspace.metadata)?;
    problems.extend(reasons::check(&workspace.metadata, &root)?);
    problems.extend(migrations::check(&root.join("migrations"))?);
    problems.extend(links::check(&root)?);
    problems.extend(words::check(&root)?);
    problems.extend(python::check(&root)?);
    problems.sort();
    for problem in &problems {
        eprintln!("{}\n", problem.below(&root));
    }
    match problems.len() {
        0 => {
            eprintln!("   tidy");
            Ok(())
        }
        1 => bail!("1 house rule is broken"),
        count => bail!("{count} house rules are broken"),
    }
}
