//! The grammar of names, and what is said of a name outside of it.

use crate::reader::Cx;
use std::ops::Range;

const LENGTH_MAX: usize = 128;

/// What is named, which decides the grammar.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Flow,
    Pool,
    Step,
    Param,
    Output,
    Variable,
}

impl Kind {
    const fn describe(self) -> &'static str {
        match self {
            Self::Flow => "the name of a flow",
            Self::Pool => "the name of a pool",
            Self::Step => "the name of a step",
            Self::Param => "the name of a parameter",
            Self::Output => "the name of an output",
            Self::Variable => "the name of an environment variable",
        }
    }

    /// The signs that a name may hold beside letters, digits and `_`.
    const fn signs(self) -> &'static str {
        match self {
            Self::Flow | Self::Pool => ".-",
            Self::Step => "-",
            Self::Param | Self::Output | Self::Variable => "",
        }
    }

    const fn may_start_with_digit(self) -> bool {
        matches!(self, Self::Flow | Self::Pool)
    }
}

/// Whether a name is within its grammar; if not, that is reported.
pub(crate) fn check(cx: &Cx<'_>, kind: Kind, name: &str, at: &Range<usize>) -> bool {
    let what = kind.describe();
    let fits = |it: char| it.is_ascii_alphanumeric() || it == '_' || kind.signs().contains(it);
    let shown = crate::yaml::shorten(name);
    let message = if name.is_empty() {
        format!("{what} is empty")
    } else if name.len() > LENGTH_MAX {
        format!(
            "{what} may have {LENGTH_MAX} characters, and this one has {}",
            name.chars().count()
        )
    } else if let Some(sign) = name.chars().find(|it| !fits(*it)) {
        format!("{what} cannot hold {sign:?}, as in `{shown}`")
    } else if !kind.may_start_with_digit()
        && name.starts_with(|it: char| it.is_ascii_digit() || it == '-')
    {
        format!("{what} cannot begin as `{shown}` does")
    } else if kind == Kind::Variable && name.to_ascii_uppercase().starts_with("DALSEGNO_") {
        let reserved = format!("`{shown}` is set by Dalsegno itself");
        let help = "names that begin with DALSEGNO_ are reserved; choose another";
        cx.push(cx.at(at, "flow.bad_name", reserved).help(help));
        return false;
    } else {
        return true;
    };
    let cure: String = name
        .chars()
        .take(40)
        .map(|it| if fits(it) { it } else { '_' })
        .collect();
    let cure = match kind.may_start_with_digit() {
        true => cure,
        false => format!(
            "{}{cure}",
            if cure.starts_with(|it: char| it.is_ascii_digit() || it == '-') {
                "_"
            } else {
                ""
            }
        ),
    };
    let mut help = match kind.signs() {
        "" => "use letters, digits and `_`".to_owned(),
        "-" => "use letters, digits, `_` and `-`".to_owned(),
        _ => "use letters, digits, `_`, `.` and `-`".to_owned(),
    };
    if !kind.may_start_with_digit() {
        help.push_str(", with a letter or `_` first");
    }
    if !cure.is_empty() && name.len() <= LENGTH_MAX {
        help.push_str(&format!(", for example `{cure}`"));
    }
    cx.push(cx.at(at, "flow.bad_name", message).help(help));
    false
}
