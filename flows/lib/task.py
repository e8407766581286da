"""What every step of the example flows needs: its parameters, its outputs, and files that are never half written."""

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path


def param(name: str, default: str = "") -> str:
    """A value the flow gave this step. Parameters and `env:` entries arrive as environment variables."""
    return os.environ.get(name, default)


def value_of(name: str):
    """An `env:` entry that holds anything but a string arrives as JSON text; this reads it back."""
    return json.loads(os.environ[name])


def output(**values) -> None:
    """Hands values to the steps that follow: one NAME=JSON line each in the file named by DALSEGNO_OUTPUT."""
    lines = "".join(f"{name}={json.dumps(value)}\n" for name, value in values.items())
    path = os.environ.get("DALSEGNO_OUTPUT")
    if path is None:
        sys.stdout.write(lines)  # tried by hand, without the daemon
        return
    with open(path, "a", encoding="utf-8") as file:
        file.write(lines)


def interval_start() -> datetime:
    """The start of the stretch of time this run is about; now, for a run that was started by hand.

    A retry, or a run that is caught up on after the laptop slept, gets the same interval again. Using it
    instead of the clock is what makes a step repeatable.
    """
    text = os.environ.get("DALSEGNO_INTERVAL_START")
    if not text:
        return datetime.now(timezone.utc)
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def results() -> Path:
    """The folder for results, from the flow's `env: { RESULTS: … }`. Steps run in the folder of their flow file."""
    return Path(os.environ.get("RESULTS", "results"))


def write(path: Path, text: str) -> None:
    """Writes a file in one stroke: readers see the old text or the new one, also if two runs overlap."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def run_steps(**steps) -> None:
    """Runs the step named on the command line: `python3 lib/ingest.py clean` calls `clean()`."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in steps:
        sys.exit(f"usage: python3 {sys.argv[0]} {{{'|'.join(steps)}}}")
    steps[name]()
