"""Starting runs and going on with them: what the command line and the Deployer have in common."""

import json

from metaflow.util import get_username

from .api import quote
from .errors import NotStarted
from .states import FINISHED, status

# Metaflow sees the end of a run when its last task has stored its data; the daemon a moment later, when the process
# of that task is gone. Whoever resumes in between means a finished run.
SETTLE_S = 15


def start(api, flow, params):
    """The new run; an answer that the flow's strategy or a pause held it back is an error that says why."""
    answer = api.post("/flows/%s/runs" % quote(flow), {"params": params, "by": get_username()})
    if answer.get("started") is False:
        raise NotStarted((answer.get("reason") or {}).get("text") or json.dumps(answer.get("reason")))
    return answer


def resume_run(api, origin, step):
    """The same run goes on."""
    origin = settled(api, origin)
    return api.post(path_of(origin), body_of({"from": step, "by": get_username()}))


def rerun(api, origin, step, params):
    """A new run that begins with what was finished in this one."""
    origin = settled(api, origin)
    if step is None and not params and origin["state"] == "succeeded":
        # Nothing is left to be run, and what is cloned is cloned by a task that runs: the last one.
        step = (api.flow(origin["flow"]).get("metaflow") or {}).get("end")
    return api.post(path_of(origin), body_of({"from": step, "by": get_username(), "params": params}))


def settled(api, run):
    return run if status(run) in FINISHED else api.wait(run, SETTLE_S)


def path_of(run):
    return "/runs/%s/resume" % quote(run["id"])


def body_of(members):
    return {name: it for name, it in members.items() if it is not None}


def metaflow_id(run):
    return (run.get("metaflow") or {}).get("run_id") or run["id"]
