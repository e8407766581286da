//! Reading flow files as the daemon here would, and asking Metaflow about them.

use super::check::Checked;
use crate::cli::CheckArgs;
use crate::client::{Exit, Failure, settings};
use crate::config::Settings;
use crate::metaflow::{options, options_of, own, probe_options};
use crate::up::metaflow_config;
use dalsegno_executor::{Interpreters, MetaflowConfig, Prober};
use dalsegno_flowfile::FlowFile;
use dalsegno_flowfile::metaflow::{Dump, Options, with_dump};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads files with the options that `dalsegno.toml` in the working directory gives; without one that can be used, with
/// none: that is the daemon's to tell.
pub(super) struct Reader(Option<(Settings, MetaflowConfig)>);

impl Reader {
    pub(super) fn new(args: &CheckArgs) -> Self {
        let folder = args.paths.first().filter(|it| it.is_dir());
        let folder = folder.map_or_else(|| Path::new("flows"), |it| it.as_path());
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let settings = settings(None, Some("any")).ok();
        Self(settings.map(|settings| {
            let config = metaflow_config(&settings, &folder);
            (settings, config)
        }))
    }

    /// The flow files of a folder, or one.
    pub(super) fn read(&self, path: &Path) -> Vec<Checked> {
        let options = self.options();
        let files = match path.is_dir() {
            true => dalsegno_flowfile::read_dir_with(path, |_| options.clone()),
            false => {
                let path = dalsegno_flowfile::metaflow::flow_file(path);
                let file = dalsegno_flowfile::read_with(&path, &options);
                vec![(path, file)]
            }
        };
        let own = |(path, file): Checked| {
            let file = file.map(|it| match &self.0 {
                Some((settings, config)) => own(&settings.metaflow, config, &path, it),
                None => it,
            });
            (path, file)
        };
        files.into_iter().map(own).collect()
    }

    fn options(&self) -> Options {
        match &self.0 {
            Some((settings, config)) => options(&settings.metaflow, config),
            // The same user as with one.
            None => options(&Default::default(), &MetaflowConfig::default()),
        }
    }

    /// Puts what Metaflow says in the place of what was read, with the differences among the warnings. Gives the files
    /// of which Metaflow could not be asked, and why.
    pub(super) fn probe(
        &self,
        args: &CheckArgs,
        files: &mut [Checked],
    ) -> Result<Unasked, Failure> {
        let broken = |error: String| Failure::new(Exit::Broken, error);
        let Some((settings, config)) = &self.0 else {
            return Err(broken(
                "`dalsegno.toml` cannot be used, so it is not known how Metaflow is to be asked"
                    .into(),
            ));
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| broken(format!("cannot start the runtime: {error}")))?;
        let folder = std::env::temp_dir().join(format!("dalsegno-check-{}", std::process::id()));
        let program = std::env::current_exe().map_err(|error| broken(error.to_string()))?;
        let prober = Prober::alone(&folder, vec![program.into(), "sandbox".into()])
            .map_err(|error| broken(format!("cannot write {}: {error}", folder.display())))?
            .hiding(&settings.data);
        let environments = settings.data.join("environments");
        let environments = std::path::absolute(&environments).unwrap_or(environments);
        let asking = Asking {
            settings,
            prober: &prober,
            interpreters: Interpreters::new(config.clone(), environments),
            python: args.python.as_deref(),
        };
        let mut unasked = Unasked::new();
        for (path, file) in files {
            let Ok(read) = file else { continue };
            if read.metaflow.is_none() {
                continue;
            }
            let options = options_of(&settings.metaflow, config, read);
            match runtime.block_on(asking.ask(path, read, &options)) {
                Ok(dump) => *file = with_dump(read, &dump, &options).map(|(merged, _)| merged),
                Err(message) => {
                    unasked.insert(path.clone(), message);
                }
            }
        }
        // What is left of it disturbs nobody.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(unasked)
    }
}

/// Files and why Metaflow could not be asked about them.
pub(super) type Unasked = BTreeMap<PathBuf, String>;

struct Asking<'a> {
    settings: &'a Settings,
    prober: &'a Prober,
    interpreters: Interpreters,
    python: Option<&'a Path>,
}

impl Asking<'_> {
    async fn ask(&self, path: &Path, file: &FlowFile, options: &Options) -> Result<Dump, String> {
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let named = file.flow.spec().metaflow.as_ref();
        let named = named.and_then(|it| it.python.clone());
        let python = self.python.map(|it| it.display().to_string()).or(named);
        let interpreter = self.interpreters.resolve(&path, python.as_deref()).await?;
        let asked = probe_options(options, self.settings.metaflow.probe_time);
        let probed = self.prober.probe(&path, &interpreter, &asked).await;
        let dump = probed.map_err(|error| error.to_string())?.dump;
        serde_json::from_value(dump)
            .map_err(|error| format!("what it said is not understood: {error}"))
    }
}
