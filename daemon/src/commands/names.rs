//! Names as people type them: the last part of a flow's name where that is enough, and what a slip may have meant.

use crate::client::{Client, Exit, Failure, Flow, Result, typed};
use std::cell::RefCell;

/// Asks for a flow by the name given. Where there is none, and the name is the last part of the name of one other
/// flow, such as `Train` of `ml.user.ada.Train`, for that.
pub(super) fn full<T>(client: &Client, name: &str, ask: impl Fn(&str) -> Result<T>) -> Result<T> {
    match ask(name) {
        Err(failure) if failure.code.as_deref() == Some("unknown_flow") => {
            match by_last_part(client, name, &failure)? {
                Some(full) => ask(&full),
                None => Err(failure),
            }
        }
        answer => answer,
    }
}

/// The full name of a flow.
pub(super) fn of_flow(client: &Client, name: &str) -> Result<String> {
    let found = RefCell::new(name.to_owned());
    full(client, name, |name| {
        *found.borrow_mut() = name.to_owned();
        client.get(&crate::client::path(&["flows", name]), &[])
    })?;
    Ok(found.into_inner())
}

fn by_last_part(client: &Client, name: &str, failure: &Failure) -> Result<Option<String>> {
    if name.is_empty() {
        return Ok(None);
    }
    // Only the first failure is worth telling.
    let Ok(mut answer) = client.get("/api/v1/flows", &[]) else {
        return Ok(None);
    };
    let flows: Vec<Flow> = typed(answer["items"].take())?;
    let flows = || flows.iter().filter(|it| it.state != "removed");
    let end = |flow: &'_ Flow| flow.name.rsplit('.').next().unwrap_or_default().to_owned();
    let mut ends: Vec<String> = flows()
        .filter(|it| end(it) == name)
        .map(|it| it.name.clone())
        .collect();
    let is_helped = failure.help.iter().any(|it| it.starts_with("did you"));
    match ends.len() {
        0 if !is_helped => {
            let ends: Vec<String> = flows().map(end).collect();
            let near = closest(name, ends.iter().map(String::as_str));
            let Some(near) = near else { return Ok(None) };
            let mut failure = failure.clone();
            failure.help = vec![format!("did you mean `{near}`?")];
            Err(failure)
        }
        0 | 1 => Ok(ends.pop()),
        _ => Err(Failure {
            help: vec![format!("name one of them in full: {}", ends.join(", "))],
            text: format!("`{name}` is the last part of the names of several flows"),
            ..failure.clone()
        }),
    }
}

/// That there is nothing of a name, with what is close to it.
pub(super) fn unknown<'a>(
    exit: Exit,
    text: String,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Failure {
    let failure = Failure::new(exit, text);
    match closest(name, known.clone()) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => {
            let known: Vec<&str> = known.take(KNOWN_MAX).collect();
            match known.is_empty() {
                true => failure.help("it has none"),
                false => failure.help(format!("known are {}", known.join(", "))),
            }
        }
    }
}

/// The name that was most likely meant, if any is close.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|it| (strsim::osa_distance(name, it), it));
    near.filter(|(distance, it)| *distance <= (it.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, it)| it)
}

/// Names that are listed to choose from.
const KNOWN_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{answer, server};

    const UNKNOWN: &str = r#"{"code":"unknown_flow","detail":"there is no flow `Train`"}"#;
    const TWO: &str = r#"{"items":[{"name":"ml.user.ada.Train","state":"active"},
        {"name":"ml.prod.Train","state":"removed"},{"name":"Trainer","state":"active"}]}"#;

    #[test]
    fn the_last_part_of_a_name_is_enough_where_one_flow_has_it() {
        let (client, server) = server(vec![
            answer("404 Not Found", UNKNOWN),
            answer("200 OK", TWO),
            answer("200 OK", r#"{"name":"ml.user.ada.Train","state":"active"}"#),
        ]);
        assert_eq!(of_flow(&client, "Train").expect("one"), "ml.user.ada.Train");
        let asked = server.join().expect("the server ends");
        let expected = "GET /api/v1/flows/ml.user.ada.Train ";
        assert!(asked[2].starts_with(expected), "{asked:?}");
    }

    #[test]
    fn where_several_flows_have_it_they_are_named() {
        let (client, server) = server(vec![
            answer("404 Not Found", UNKNOWN),
            answer("200 OK", &TWO.replace("removed", "paused")),
        ]);
        let failure = of_flow(&client, "Train").expect_err("two");
        server.join().expect("the server ends");
        let help = "name one of them in full: ml.user.ada.Train, ml.prod.Train";
        assert_eq!(failure.help, [help]);
    }

    #[test]
    fn a_slip_in_the_last_part_is_told_with_what_it_may_have_meant() {
        let (client, server) = server(vec![
            answer("404 Not Found", &UNKNOWN.replace("Train", "Tran")),
            answer("200 OK", TWO),
        ]);
        let failure = of_flow(&client, "Tran").expect_err("no such flow");
        server.join().expect("the server ends");
        assert_eq!(failure.help, ["did you mean `Train`?"]);
    }

    #[test]
    fn a_slip_is_told_with_what_it_may_have_meant() {
        let known = || ["start", "fit", "end"].into_iter();
        let told = |name| unknown(Exit::NotFound, String::new(), name, known()).help;
        assert_eq!(told("fitt"), ["did you mean `fit`?"]);
        assert_eq!(told("quarrel"), ["known are start, fit, end"]);
    }
}
