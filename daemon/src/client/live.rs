//! Waiting for something to happen: the daemon's live stream.

use super::failure::Result;
use super::http::Client;
use std::io::{BufRead, BufReader};
use ureq::BodyReader;

/// A stream that tells when a run has changed. Open it first, then look: nothing falls in between.
pub(crate) struct Live {
    lines: BufReader<BodyReader<'static>>,
}

impl Live {
    pub(crate) fn of_run(client: &Client, run: &str) -> Result<Self> {
        let response = client.stream("/api/v1/live", &[("run", run)])?;
        Ok(Self {
            lines: BufReader::new(response.into_body().into_reader()),
        })
    }

    /// Waits for a change. False when the stream has ended: the daemon stops, or the line is broken.
    pub(crate) fn changed(&mut self) -> bool {
        let mut line = Vec::new();
        let mut tells = false;
        loop {
            line.clear();
            match self.lines.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return false,
                // An empty line ends a message; comments keep the line open and tell nothing.
                Ok(_) if line == b"\n" || line == b"\r\n" => {
                    if tells {
                        return true;
                    }
                }
                Ok(_) => tells |= !line.starts_with(b":"),
            }
        }
    }
}
