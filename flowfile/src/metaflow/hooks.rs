//! `@exit_hook`: functions that are called when a run is over.

use super::declared::Declared;
use super::found::Found;
use super::value::Value;
use dalsegno_scheduler::spec::HookOn;

pub(super) struct Hook {
    /// Unique among the flow's steps and hooks.
    pub(super) name: String,
    pub(super) function: String,
    pub(super) on: HookOn,
}

pub(super) fn read(declared: &Declared, found: &mut Found) -> Vec<Hook> {
    const CODE: &str = "metaflow.exit_hook";
    let mut functions: Vec<(HookOn, String)> = Vec::new();
    for decorator in declared
        .decorators
        .iter()
        .filter(|it| it.name == "exit_hook")
    {
        let before = functions.len();
        let known = decorator.is_known("on_success") && decorator.is_known("on_error");
        for (attribute, on) in [
            ("on_success", HookOn::Success),
            ("on_error", HookOn::Failure),
        ] {
            let place = decorator.place_of(attribute);
            let given = match decorator.value(attribute, found) {
                None | Some(Value::None) => continue,
                Some(Value::List(given) | Value::Tuple(given)) => given.clone(),
                Some(_) => {
                    let message = format!("`{attribute}` must be a list of functions");
                    let help = format!("write `{attribute}=[my_function]`");
                    found.error(place, CODE, message, help);
                    continue;
                }
            };
            for it in given {
                match it {
                    Value::Function(function) | Value::Str(function) if !function.is_empty() => {
                        functions.push((on, function));
                    }
                    other => {
                        let shown = crate::yaml::shorten(&other.repr());
                        let message = format!("`{shown}` in `{attribute}` is not a function");
                        let help = "name a function of this file, or write its name as a string";
                        found.error(place, CODE, message, help);
                    }
                }
            }
        }
        if functions.len() == before && known {
            let message = "`@exit_hook` names no function";
            let help = "write `@exit_hook(on_error=[my_function])`";
            found.error(&decorator.place, CODE, message, help);
        }
    }
    // As Metaflow lists them.
    functions.sort_by_key(|(on, _)| *on == HookOn::Failure);
    let mut hooks: Vec<Hook> = Vec::new();
    for (on, function) in functions {
        let name = free_name(&function, &hooks);
        hooks.push(Hook { name, function, on });
    }
    hooks
}

/// `exit-hook-NAME`, which cannot be the name of a step; a number is added where a function is named twice.
fn free_name(function: &str, hooks: &[Hook]) -> String {
    let sign = |it: char| {
        if it.is_ascii_alphanumeric() || it == '_' {
            it
        } else {
            '-'
        }
    };
    let function: String = function.chars().map(sign).take(100).collect();
    let first = format!("exit-hook-{function}");
    let taken = |name: &str| hooks.iter().any(|it| it.name == name);
    if !taken(&first) {
        return first;
    }
    (2..)
        .map(|number| format!("{first}-{number}"))
        .find(|it| !taken(it))
        .expect("numbers do not end")
}
