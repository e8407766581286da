"""Prints all that Metaflow's own client says of a run, as JSON: run.py Flow/run-id"""

import json
import sys

from metaflow import Run, namespace


def plain(value):
    """Artifacts as JSON; what JSON does not know, as Python writes it."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return repr(value)


def data(task):
    found = {}
    for artifact in task:
        if not artifact.id.startswith("_") and artifact.id != "name":
            found[artifact.id] = plain(artifact.data)
    return found


def private(task, name):
    return plain(task[name].data) if name in task else None


def told(task):
    return {
        "id": task.id,
        "index": task.index if task.finished else None,
        "finished": task.finished,
        "successful": task.successful,
        "ok": private(task, "_task_ok"),
        "attempt": task.current_attempt,
        "data": data(task) if task.finished else {},
        "exception": str(task.exception) if task.exception else None,
        "stdout": task.stdout,
        "stderr": task.stderr,
        "parents": [parent.pathspec.split("/", 2)[2] for parent in task.parent_tasks] if task.finished else [],
        "tags": sorted(task.tags),
        "metadata": {key: plain(value) for key, value in task.metadata_dict.items()},
    }


def events(run):
    trigger = run.trigger
    return [{"type": it.type, "name": it.name, "id": it.id, "timestamp": str(it.timestamp)} for it in trigger.events or []] if trigger else None


namespace(None)
run = Run(sys.argv[1])
answer = {
    "id": run.id,
    "finished": run.finished,
    "successful": run.successful,
    "tags": sorted(run.tags),
    "user_tags": sorted(run.user_tags),
    "trigger": events(run),
    "steps": {step.id: sorted((told(task) for task in step), key=lambda it: (it["index"] is None, it["index"] or 0, it["id"])) for step in run},
}
json.dump(answer, sys.stdout)
