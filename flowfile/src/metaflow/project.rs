//! `@project`: whose flows see each other.

use super::declared::Declared;
use super::found::Found;
use super::options::Options;
use super::value::Value;
use dalsegno_scheduler::metaflow::Project;

const NAME_MAX: usize = 128;

/// `None`: the flow has no project, or one that is wrong or not known (then that is reported).
pub(super) fn read(declared: &Declared, options: &Options, found: &mut Found) -> Option<Project> {
    let decorator = declared.decorators.iter().find(|it| it.name == "project")?;
    const CODE: &str = "metaflow.project";
    let name = match decorator.value("name", found) {
        Some(Value::Str(name)) if !name.is_empty() => name.clone(),
        None if !decorator.is_known("name") => return None,
        _ => {
            let message = "`@project` has no name";
            let help = "write `@project(name=\"my_project\")`";
            found.error(&decorator.place, CODE, message, help);
            return None;
        }
    };
    let bad = |text: &str| {
        let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
        text.len() > NAME_MAX || !text.bytes().all(fits)
    };
    let help = "use lower-case letters, digits and `_`, at most 128 of them";
    if bad(&name) {
        let message = format!(
            "`{}` cannot be the name of a project",
            crate::yaml::shorten(&name)
        );
        found.error(decorator.place_of("name"), CODE, message, help);
        return None;
    }
    let own_branch = match decorator.value("branch", found) {
        Some(Value::Str(branch)) if !branch.is_empty() => Some(branch.clone()),
        None if !decorator.is_known("branch") => return None,
        _ => None,
    };
    let own_production = match decorator.value("production", found) {
        None if !decorator.is_known("production") => return None,
        it => it.map(Value::is_true),
    };
    if let (Some(own), Some(given)) = (&own_branch, &options.branch)
        && own != given
    {
        let message = format!("the file says the branch is `{own}`, and the deployment `{given}`");
        let help = "remove `branch` from `@project`, or from the deployment";
        found.error(decorator.place_of("branch"), CODE, message, help);
        return None;
    }
    if own_production == Some(false) && options.production {
        let message = "the file says `production=False`, and the deployment is for production";
        let help = "remove `production` from `@project`";
        found.error(decorator.place_of("production"), CODE, message, help);
        return None;
    }
    let given = own_branch.or_else(|| options.branch.clone().filter(|it| !it.is_empty()));
    if let Some(branch) = given.as_deref().filter(|it| bad(it)) {
        let message = format!(
            "`{}` cannot be the name of a branch",
            crate::yaml::shorten(branch)
        );
        found.error(decorator.place_of("branch"), CODE, message, help);
        return None;
    }
    let production = own_production.unwrap_or(options.production);
    let branch = match (&given, production) {
        (Some(branch), true) => format!("prod.{branch}"),
        (Some(branch), false) => format!("test.{branch}"),
        (None, true) => "prod".to_owned(),
        (None, false) => format!("user.{}", options.owner.as_deref().unwrap_or("None")),
    };
    Some(Project {
        name,
        branch,
        branch_option: options.branch.clone(),
        production: options.production,
    })
}

/// What Metaflow itself says of project and branch, in a dump.
pub(super) fn of_dump(dump: &serde_json::Value, options: &Options) -> Option<Project> {
    let text = |key: &str| dump.get(key).and_then(|it| it.as_str()).map(str::to_owned);
    Some(Project {
        name: text("project_name")?,
        branch: text("branch_name")?,
        branch_option: options.branch.clone(),
        production: options.production,
    })
}
