"""The daemon's states in the words that users of Metaflow's other deployers know."""

STATUS = {
    "queued": "PENDING",
    "running": "RUNNING",
    "cancelling": "RUNNING",
    "succeeded": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "ABORTED",
    "timed_out": "TIMED_OUT",
}

FINISHED = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")


def status(run):
    """`RUNNING`, `FAILED` …; a state of a newer daemon keeps its own name."""
    return STATUS.get(run["state"], run["state"].upper())


def states(wanted):
    """The daemon's states that show as one of these."""
    unknown = sorted(set(wanted) - set(STATUS.values()))
    if unknown:
        raise ValueError(
            "%s: no such state; states are %s" % (", ".join(unknown), ", ".join(sorted(set(STATUS.values()))))
        )
    return [state for state, name in STATUS.items() if name in wanted]
