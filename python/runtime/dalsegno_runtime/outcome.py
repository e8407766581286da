"""Outcome files of stages in which no step runs, and what Metaflow said there."""
import json
import os
import re

_ESCAPES = re.compile("\x1b\\[[0-9;]*[A-Za-z]")
_BANNER = re.compile(r"^(Metaflow \S+ executing|Validating your flow|The graph looks good|Running pylint|Pylint )")
_NEEDS_ENVIRONMENT = re.compile(r"--environment=(conda|pypi|uv)")
_NEEDS_DATASTORE = re.compile(r"--datastore=s3|requires a datastore|@(batch|kubernetes)\b.*datastore", re.S)


def write_failure(request, stage, error, pathspec=None):
    """Says that a stage failed."""
    _write(request, {"ok": False, "next": None, "error": error, "stage": stage, "pathspec": pathspec})


def write_success(request, stage, pathspec):
    """Says that a stage after which nothing follows is done."""
    _write(request, {"ok": True, "next": [], "error": None, "stage": stage, "pathspec": pathspec})


def _write(request, said):
    """A reader never sees half of it. What is no Unicode, as names of files need not be, becomes question marks."""
    value = {
        "ok": False, "next": None, "foreach": None, "num_splits": None, "num_parallel": None, "labels": None,
        "caught": False, "mapper_tasks": None, "attempt": request.attempt, **said,
    }
    part = "%s.%d.part" % (request.outcome, os.getpid())
    with open(part, "w", encoding="utf-8", errors="replace") as file:
        json.dump(value, file, ensure_ascii=False)
    os.replace(part, request.outcome)


def said(text):
    """What Metaflow said, without colours, banner and usage lines, and what cures it where that is known."""
    lines = [_ESCAPES.sub("", line).rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip() and not _BANNER.match(line.strip())]
    message = ""
    usage = next((i for i in range(len(lines) - 1, -1, -1) if lines[i].startswith("Error: ")), None)
    if usage is not None:
        message = "\n".join([lines[usage][len("Error: "):], *lines[usage + 1:]])
    elif any(line.strip().startswith(("Traceback (most recent call last)", 'File "')) for line in lines):
        message = next((line for line in reversed(lines) if not line.startswith(" ")), lines[-1]).strip()
    else:
        message = "\n".join(line.strip() for line in lines[-8:])
    return (message + _cure(message))[:4000]


def _cure(message):
    found = _NEEDS_ENVIRONMENT.search(message)
    if found:
        return (
            "\nTo run such steps in the flow's own Python environment set `ignore_environments = true` under "
            "[metaflow] in dalsegno.toml; to build the environment deploy the flow with --environment=%s."
            % found.group(1)
        )
    if _NEEDS_DATASTORE.search(message):
        return (
            "\nOn a local datastore such decorators are left out when DALSEGNO_IGNORED_DECORATORS names them "
            "(batch,kubernetes); else configure `datastore = \"s3\"` under [metaflow] in dalsegno.toml."
        )
    return ""
