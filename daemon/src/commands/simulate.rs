//! `dalsegno simulate`: the coming days, without a daemon and without touching anything.

use super::check::Checked;
use super::migrate::{Place, block_on};
use super::moment;
use super::probe::Reader;
use crate::cli::{CheckArgs, SimulateArgs};
use crate::client::{Exit, Failure, Result, settings};
use crate::histories;
use crate::metaflow::is_deployed;
use crate::output::{self, Screen, print, print_json};
use dalsegno_predict::week::{Deployed, Options, Past, Start, Week, compare, simulate as play};
use dalsegno_scheduler::row::{FlowRow, Recovered};
use dalsegno_scheduler::{Config, FlowName, Span, Timestamp};
use dalsegno_store::{Error, PostgresStore, SCHEMA_VERSION, SqliteStore, Store};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Further away, nothing is foreseeable.
const LONGEST: Span = Span::from_mins(400 * 24 * 60);

/// What the database says, if there is one.
#[derive(Default)]
struct Known {
    rows: Recovered,
    past: Past,
}

/// One folder of flows, or what is active now.
struct Flows {
    flows: Vec<Deployed>,
    removed: Vec<FlowName>,
    /// Files that are not valid as they stand.
    broken: Vec<String>,
}

pub(super) fn simulate(args: &SimulateArgs) -> Result<Exit> {
    let now = Screen::of_stdout().now;
    let from = args.from.as_deref().map(|it| moment::one("--from", it));
    let given = from
        .transpose()?
        .and_then(|it| Timestamp::parse_rfc3339(&it));
    let span = length("--for", &args.days)?;
    let assumed = length("--assume", &args.assume)?;
    let from = given.unwrap_or(now);
    let options = Options {
        from,
        until: from + span,
        seed: args.seed,
        assumed,
    };
    let settings = settings(args.store.config.as_deref(), Some("any"))?;
    let place = Place::of(&args.store)?;
    let has_database = place.file().is_none_or(|it| it.exists());
    let mut known = match has_database {
        true => block_on(read(&place))?,
        false => Known::default(),
    };
    if given.is_some() {
        // What is under way now says nothing about another day.
        known.rows = Recovered {
            flows: known.rows.flows,
            versions: known.rows.versions,
            ..Recovered::default()
        };
    }
    let mut facts = Vec::new();
    if !has_database {
        facts.push(format!(
            "there is no database at {place}, so nothing is known of the past"
        ));
    }
    let folder = match (&args.flows, has_database) {
        (Some(folder), _) => Some(folder.clone()),
        (None, false) => Some(PathBuf::from("flows")),
        // The flows as they are active.
        (None, true) => None,
    };
    let own = folder.as_deref().map(|it| of_folder(it, &known.rows.flows));
    let base = args
        .diff
        .as_deref()
        .map(|it| of_folder(it, &known.rows.flows));
    let (own, base) = (own.transpose()?, base.transpose()?);
    let core = settings.core;
    let (mut week, before) = std::thread::scope(|scope| {
        let before = base.map(|it| scope.spawn(|| one(it, &core, &known, &options)));
        let week = one(own.unwrap_or_else(Flows::none), &core, &known, &options);
        (
            week,
            before.map(|it| it.join().expect("a week is played to its end")),
        )
    });
    week.facts.extend(facts);
    let diff = before.as_ref().map(|before| compare(before, &week));
    let new_breaches = match &diff {
        Some(diff) => diff.new_breaches.len(),
        None => week.breaches.len(),
    };
    if args.json {
        let mut value = json!(week);
        if let Some(diff) = &diff {
            value["diff"] = json!(diff);
        }
        print_json(&value)?;
    } else {
        print(&output::week(&Screen::of_stdout(), &week, diff.as_ref()))?;
    }
    let fails = args.fail_on.is_some() && new_breaches > 0;
    Ok(if fails { Exit::Failed } else { Exit::Done })
}

fn one(flows: Flows, config: &Config, known: &Known, options: &Options) -> Week {
    let start = Start {
        config: config.clone(),
        rows: known.rows.clone(),
        flows: flows.flows,
        removed: flows.removed,
    };
    let mut week = play(start, &known.past, options);
    week.refused.extend(flows.broken);
    week
}

impl Flows {
    fn none() -> Self {
        Self {
            flows: Vec::new(),
            removed: Vec::new(),
            broken: Vec::new(),
        }
    }
}

/// Reads a folder as `up` would: flows that are in it are deployed, others are taken off.
fn of_folder(folder: &Path, known: &[FlowRow]) -> Result<Flows> {
    if !folder.is_dir() {
        let text = format!("there is no folder {}", folder.display());
        return Err(
            Failure::new(Exit::NotFound, text).help("name the folder that holds the flow files")
        );
    }
    let reader = Reader::new(&CheckArgs {
        paths: vec![folder.to_owned()],
        probe: false,
        python: None,
        schema: false,
        json: false,
    });
    let files: Vec<Checked> = reader.read(folder);
    let (mut flows, mut names) = (Vec::new(), BTreeSet::new());
    let (mut broken, mut broken_files) = (Vec::new(), BTreeSet::new());
    for (path, file) in files {
        match file {
            Ok(file) if names.insert(file.flow.name().clone()) => flows.push(Deployed {
                flow: file.flow,
                version: file.version,
                file: path.display().to_string(),
            }),
            Ok(file) => broken.push(format!(
                "{}: there is another flow `{}` in the folder",
                path.display(),
                file.flow.name()
            )),
            Err(found) => {
                let first = found.iter().next().map(|it| it.message.clone());
                let why = first.unwrap_or_else(|| "it cannot be read".to_owned());
                broken.push(format!("{}: {why}", path.display()));
                broken_files.extend(path.file_name().map(|it| it.to_owned()));
            }
        }
    }
    // A file that is broken keeps its last good version.
    let is_broken = |row: &FlowRow| {
        let name = Path::new(&row.file).file_name();
        name.is_some_and(|it| broken_files.contains(it))
    };
    let gone = known
        .iter()
        .filter(|it| !it.removed && !is_deployed(it) && !names.contains(&it.name))
        .filter(|it| !is_broken(it));
    Ok(Flows {
        removed: gone.map(|it| it.name.clone()).collect(),
        flows,
        broken,
    })
}

/// Reads all that is unfinished and how long things took; writes nothing.
async fn read(place: &Place) -> std::result::Result<Known, Error> {
    let store: Box<dyn Store> = match place {
        Place::Server(url) => Box::new(PostgresStore::open(url).await?),
        Place::Folder(data) => {
            Box::new(SqliteStore::open_to_read(&data.join("dalsegno.db")).await?)
        }
    };
    // Of an older one some tables are missing, and nothing may be added here.
    let binary = SCHEMA_VERSION;
    match store.schema_version().await? {
        0 => return Ok(Known::default()),
        database if database < binary => return Err(Error::DatabaseOlder { database, binary }),
        database if database > binary => return Err(Error::DatabaseNewer { database, binary }),
        _ => {}
    }
    let rows = store.load().await?;
    let flows: Vec<FlowName> = rows.flows.iter().map(|it| it.name.clone()).collect();
    let past = histories::past(store.as_ref(), &flows).await?;
    Ok(Known { rows, past })
}

/// `7d`, `12h`, `90m`.
fn length(option: &str, text: &str) -> Result<Span> {
    let span = Span::from_secs(moment::length(option, text)?);
    match span <= LONGEST {
        true => Ok(span),
        false => {
            let text = format!("`{option} {text}` is too long");
            Err(Failure::new(Exit::Usage, text).help("write at most 400 days: 400d"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_unit() {
        for (text, minutes) in [("90m", 90), ("12h", 720), ("7d", 10_080), ("1w", 10_080)] {
            assert_eq!(
                length("--for", text),
                Ok(Span::from_mins(minutes)),
                "{text}"
            );
        }
        for text in [
            "",
            "d",
            "0d",
            "-1d",
            "7",
            "1y",
            "401d",
            "99999999999999999999d",
        ] {
            assert!(length("--for", text).is_err(), "{text}");
        }
    }
}
