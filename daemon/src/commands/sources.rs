//! `dalsegno sources`

use crate::cli::SourcesArgs;
use crate::client::{Client, Exit, Result, typed};
use crate::output::{self, Screen, print, print_json};

pub(super) fn sources(client: &Client, args: &SourcesArgs) -> Result<Exit> {
    let mut answer = client.get("/api/v1/sources", &[])?;
    if args.json.json {
        print_json(&answer)?;
        return Ok(Exit::Done);
    }
    let all: Vec<_> = typed(answer["items"].take())?;
    print(&output::sources(&Screen::of_stdout(), &all))?;
    Ok(Exit::Done)
}
