//! What can be asked for.

use clap::Parser;
use std::path::PathBuf;

/// Measures Dalsegno, each figure beside its limit on the same disk in the same run.
#[derive(Parser, Debug)]
#[command(name = "dalsegno-bench")]
pub(crate) struct Args {
    /// Only these figures, e.g. a,c,f
    #[arg(long, value_name = "LETTERS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Less work per figure: for a first look
    #[arg(long)]
    pub(crate) quick: bool,
    /// Before each figure wait up to so long for a machine on which nobody else works
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) calm: u64,
    /// Also write all that was measured to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also measure these engines in the same run, e.g. restate,dbos,prefect (see bench/peers)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// Measure this one figure in this process and write it to `--json`; how the suite calls itself
    #[arg(long, hide = true, value_name = "LETTER")]
    pub(crate) alone: Option<String>,
}
