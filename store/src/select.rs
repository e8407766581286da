//! One SELECT under construction: text and arguments, the same for both databases.

/// A statement that reads, with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub text: String,
    pub args: Vec<Arg>,
}

#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Int(i64),
    Text(String),
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(crate::encode::without_nul(value).into_owned())
    }
}

impl Select {
    /// Each `?` of `text` stands for one of `args`, in order.
    pub(crate) fn new(text: &str, args: impl IntoIterator<Item = Arg>) -> Self {
        let mut select = Self {
            text: String::new(),
            args: Vec::new(),
        };
        select.push(text, args);
        select
    }

    /// More text, parted from what stands there by a space.
    pub(crate) fn push(&mut self, text: &str, args: impl IntoIterator<Item = Arg>) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        let mut args = args.into_iter();
        for piece in text.split_inclusive('?') {
            match piece.strip_suffix('?') {
                Some(before) => {
                    self.args
                        .push(args.next().expect("one argument for each `?`"));
                    self.text.push_str(before);
                    self.text.push_str(&format!("${}", self.args.len()));
                }
                None => self.text.push_str(piece),
            }
        }
    }
}
