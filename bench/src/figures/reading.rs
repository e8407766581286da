//! (l) Four hundred Metaflow files, read and checked, beside Python's parser on the same files.

use super::Effort;
use crate::aim::Aim;
use crate::daemon::{House, binary};
use crate::figure::Figure;
use crate::floors;
use crate::metaflow;
use crate::percentile::median;
use crate::place::{self, Database};
use anyhow::{Context as _, Result, bail};
use std::process::Command;
use std::time::Instant;

const FILES: usize = 400;

/// What newcomers read, too.
const TEXTS: [&str; 6] = [
    include_str!("../../../flows/hello_flow.py"),
    include_str!("../../../flows/route_flow.py"),
    include_str!("../../../flows/grid_search_flow.py"),
    include_str!("../../../flows/sales_ingest_flow.py"),
    include_str!("../../../flows/sales_report_flow.py"),
    include_str!("../../../flows/train_flow.py"),
];

/// Prints the seconds that the parser needs, without Python's own start.
const PARSE: &str = "import ast, glob, time; texts = [open(it).read() for it in glob.glob('flows/*.py')]; begun = time.perf_counter(); \
                     [ast.parse(it) for it in texts]; print(time.perf_counter() - begun)";

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let house = House::with(&[], &Database::sqlite(folder.path(), "reading"))?;
    for number in 0..FILES {
        let text = TEXTS[number % TEXTS.len()]
            .replace("Flow(FlowSpec)", &format!("Flow{number}(FlowSpec)"));
        let text = text.replace("    HelloFlow()", &format!("    HelloFlow{number}()"));
        let text = ["Route", "GridSearch", "SalesIngest", "SalesReport", "Train"]
            .iter()
            .fold(text, |text, it| {
                text.replace(
                    &format!("    {it}Flow()"),
                    &format!("    {it}Flow{number}()"),
                )
            });
        house.write(&format!("flow_{number}.py"), &text)?;
    }
    let (mut ours, mut python) = (Vec::new(), Vec::new());
    for _ in 0..effort.pick(7, 3) {
        let mut check = Command::new(binary()?);
        check.args(["check", "flows"]).current_dir(house.path());
        let begun = Instant::now();
        let output = check
            .output()
            .context("the daemon's binary does not start")?;
        ours.push(begun.elapsed().as_secs_f64() * 1e3);
        if !output.status.success() {
            bail!(
                "{check:?} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let parsed = Command::new(metaflow::python()?)
            .args(["-c", PARSE])
            .current_dir(house.path())
            .output()?;
        let seconds: f64 = String::from_utf8_lossy(&parsed.stdout)
            .trim()
            .parse()
            .context("Python does not parse")?;
        python.push(seconds * 1e3);
    }
    let figure = Figure::new(
        "l",
        format!("`check` of {FILES} Metaflow files"),
        median(&ours),
        "ms",
    )
    .limit("Python's own parser alone", median(&python))
    .aim(Aim::RatioAtMost(1.0));
    Ok(vec![figure.judged(floors::fsync_p50_us(folder.path())?)])
}
