"""A plug-in for pytest: tests that Metaflow passes over because other schedulers cannot do them are run, too."""

import os
import time

# What Dalsegno is expected to do: timeouts that strike, and foreach in foreach in foreach.
EXPECTED = ("test_timeout_enforcement", "test_timeout_minutes_enforced", "test_nested_foreach_3level")
FINISHED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
POLL_S = 1


def pytest_collection_modifyitems(items):
    if not os.environ.get("DALSEGNO_COMPLIANCE_ALL"):
        return
    for item in items:
        if getattr(item, "originalname", None) in EXPECTED:
            item.own_markers = [it for it in item.own_markers if it.name != "skip"]
            if hasattr(item.module, "wait_for_deployed_run_allow_failure"):
                item.module.wait_for_deployed_run_allow_failure = wait_for_any_end


def wait_for_any_end(deployed_flow, timeout=3600, run_kwargs=None, polling_interval=POLL_S):
    """In place of the suite's own, which waits for the end step of a run that fails before it, and so for ever."""
    triggered = deployed_flow.trigger(**(run_kwargs or {}))
    end = time.monotonic() + timeout
    while triggered.status not in FINISHED:
        if time.monotonic() > end:
            raise RuntimeError("run %s has not ended within %s seconds" % (triggered.pathspec, timeout))
        time.sleep(polling_interval)
    return triggered.run
