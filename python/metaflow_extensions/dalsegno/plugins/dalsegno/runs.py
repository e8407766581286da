"""Starting runs and going on with them: what the command line and the Deployer have in common."""

import json

from metaflow.util import get_username

from .api import quote
from .errors import NotStarted


def start(api, flow, params):
    """The new run; an answer that the flow's strategy or a pause held it back is an error that says why."""
    answer = api.post("/flows/%s/runs" % quote(flow), {"params": params, "by": get_username()})
    if answer.get("started") is False:
        raise NotStarted((answer.get("reason") or {}).get("text") or json.dumps(answer.get("reason")))
    return answer


def resume_run(api, origin, step, params):
    """Without `params` the same run goes on; with them, even none, a new run is made."""
    body = {"from": step, "by": get_username()}
    if params is not None:
        body["params"] = params
    return api.post("/runs/%s/resume" % origin["id"], {name: it for name, it in body.items() if it is not None})


def metaflow_id(run):
    return (run.get("metaflow") or {}).get("run_id") or run["id"]
