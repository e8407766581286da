"""What `create` and `trigger` give back: a deployed flow, and a run of it."""

import json
import os
import time
from typing import ClassVar, Dict, List, Optional

from metaflow.runner.deployer import DeployedFlow, TriggeredRun
from metaflow.util import get_username

from .api import Api, WAIT_S, quote
from .errors import DalsegnoError, NotReachable, Refused
from .parameters import named
from .runs import metaflow_id, rerun, resume_run, start
from .states import FINISHED, states as states_named, status


class DalsegnoTriggeredRun(TriggeredRun):
    """
    A run on Dalsegno.
    """

    def __init__(self, deployer, content: str):
        super().__init__(deployer, content)
        self._api = api_of(deployer)
        self.run_id = self.pathspec.split("/")[-1]

    @property
    def status(self) -> Optional[str]:
        """
        How the run stands: PENDING, RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.

        Returns
        -------
        str, optional
            The status, or None if the daemon cannot be asked just now.
        """
        try:
            return status(self._api.run(self.run_id))
        except NotReachable:
            return None

    @property
    def is_running(self) -> bool:
        """
        Whether the run has not ended yet. A daemon that does not answer has not said that it has.

        Returns
        -------
        bool
            True while the run waits or runs.
        """
        return self.status not in FINISHED

    def wait_for_completion(self, check_interval: int = 5, timeout: Optional[int] = None):
        """
        Wait until the run has ended, however it ends.

        Parameters
        ----------
        check_interval : int, default 5
            How long to wait before asking again when the daemon does not answer, in seconds. Otherwise the daemon
            answers the moment the run ends.
        timeout : int, optional, default None
            Maximum time to wait, in seconds. If None, waits indefinitely.

        Raises
        ------
        TimeoutError
            If the run does not end within the specified time.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_S if end is None else min(WAIT_S, max(0, end - time.monotonic()))
            try:
                run = self._api.run(self.run_id)
                if status(self._api.wait(run, left)) in FINISHED:
                    return
            except NotReachable:
                time.sleep(min(check_interval, left))
            if end is not None and time.monotonic() >= end:
                raise TimeoutError("Run %s did not end within %s seconds." % (self.run_id, timeout))

    def terminate(self, reason: Optional[str] = None) -> bool:
        """
        Stop the run: its tasks are killed.

        Parameters
        ----------
        reason : str, optional, default None
            Why, for whoever asks later.

        Returns
        -------
        bool
            True if it is being stopped, False if it had ended already.
        """
        run = self._api.run(self.run_id)
        if status(run) in FINISHED:
            return False
        self._api.post("/runs/%s/cancel" % quote(run["id"]), {"by": get_username(), "reason": reason})
        return True

    def resume(self, step_to_rerun: Optional[str] = None) -> bool:
        """
        Go on with this same run: what succeeded is kept, the rest runs again.

        Parameters
        ----------
        step_to_rerun : str, optional, default None
            Run this step and all that follow it again, even if they succeeded.

        Returns
        -------
        bool
            True. A run that cannot go on raises an exception that says why.
        """
        resume_run(self._api, self._api.run(self.run_id), step_to_rerun)
        return True

    def why(self) -> str:
        """
        Why the run stands as it does.

        Returns
        -------
        str
            One line for each thing that holds it up or made it fail.
        """
        lines = self._api.why(self._api.run(self.run_id))
        return "\n".join("%s: %s" % (it["subject"], it["text"]) for it in lines)


class DalsegnoDeployedFlow(DeployedFlow):
    """
    A flow deployed to Dalsegno.
    """

    TYPE: ClassVar[Optional[str]] = "dalsegno"

    def __init__(self, deployer):
        super().__init__(deployer)
        self._api = api_of(deployer)

    @property
    def request(self) -> Optional[dict]:
        """
        What `create(only_json=True)` would have sent; None for a flow that was deployed.
        """
        return getattr(self.deployer, "additional_info", {}).get("request")

    @classmethod
    def from_deployment(cls, identifier: str, metadata: Optional[str] = None):
        """
        The deployed flow of this name, without its file.

        Parameters
        ----------
        identifier : str
            The flow's name in Dalsegno: `MyFlow`, or `project.branch.MyFlow` with @project.
        metadata : str, optional, default None
            Where Metaflow's client looks for runs; by default as it is configured.

        Returns
        -------
        DalsegnoDeployedFlow
            The deployed flow.
        """
        return cls(known_by_name(identifier, metadata, {}, dict(os.environ)))

    @classmethod
    def list_deployed_flows(cls, flow_name: Optional[str] = None):
        """
        The Metaflow flows that the daemon knows.

        Parameters
        ----------
        flow_name : str, optional, default None
            Only deployments of this class, in whatever project and branch.

        Yields
        ------
        DalsegnoDeployedFlow
            Each deployed flow.
        """
        for flow in Api().get("/flows")["items"]:
            if flow.get("metaflow") and not flow.get("removed"):
                if flow_name in (None, flow["metaflow"]["class"]):
                    yield cls(KnownByName(flow, None, {}, dict(os.environ)))

    @classmethod
    def get_triggered_run(cls, identifier: str, run_id: str, metadata: Optional[str] = None):
        """
        A run of a deployed flow.

        Parameters
        ----------
        identifier : str
            The flow's name in Dalsegno.
        run_id : str
            The run's id in Metaflow (`dalsegno-…`).
        metadata : str, optional, default None
            Where Metaflow's client looks for runs; by default as it is configured.

        Returns
        -------
        DalsegnoTriggeredRun
            The run.
        """
        deployed = cls.from_deployment(identifier, metadata)
        return deployed._triggered(deployed._api.run(run_id))

    def trigger(self, **kwargs) -> DalsegnoTriggeredRun:
        """
        Start a run.

        Parameters
        ----------
        **kwargs : Any
            The flow's `Parameters`. Those that are left out get the deployed version's defaults.

        Returns
        -------
        DalsegnoTriggeredRun
            The run.
        """
        return self._triggered(start(self._api, self.name, self._params(kwargs)))

    def resume(
        self, origin_run_id: Optional[str] = None, step_to_rerun: Optional[str] = None, **kwargs
    ) -> DalsegnoTriggeredRun:
        """
        Make a run that begins with the finished tasks of an earlier one and runs the rest.

        Parameters
        ----------
        origin_run_id : str, optional, default None
            The earlier run's id in Metaflow; by default the newest of this flow.
        step_to_rerun : str, optional, default None
            Run this step and all that follow it again, even if they succeeded.
        **kwargs : Any
            `Parameters` that are to differ; the others are the earlier run's.

        Returns
        -------
        DalsegnoTriggeredRun
            The new run. To go on with the same run, use the run's own `resume`.
        """
        if origin_run_id is None:
            newest = self.list_runs(limit=1)
            if not newest:
                raise DalsegnoError("Flow %s has no runs yet, so there is none to resume." % self.name)
            origin_run_id = newest[0].run_id
        origin = self._api.run(origin_run_id)
        return self._triggered(rerun(self._api, origin, step_to_rerun, self._params(kwargs)))

    def list_runs(self, states: Optional[List[str]] = None, limit: Optional[int] = None) -> List[DalsegnoTriggeredRun]:
        """
        Runs of the deployed flow, newest first.

        Parameters
        ----------
        states : List[str], optional, default None
            Only runs that are PENDING, RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.
        limit : int, optional, default None
            At most so many.

        Returns
        -------
        List[DalsegnoTriggeredRun]
            The runs.
        """
        return [self._triggered(run) for run in self._api.runs(self.name, states_named(states or []), limit)]

    def delete(self) -> bool:
        """
        Remove the flow from Dalsegno: nothing starts it any more. Runs that are under way go on.

        Returns
        -------
        bool
            True if it was removed, False if there is no such flow.
        """
        try:
            there = not self._api.flow(self.name).get("removed")
        except Refused as refused:
            if refused.status != 404:
                raise
            there = False
        if there:
            self._api.delete("/flows/" + quote(self.name))
        return there

    def _params(self, given: Dict) -> Dict:
        known = self._api.flow(self.name).get("params") or []
        files = getattr(self.deployer, "additional_info", {}).get("files") or []
        return named([it["name"] for it in known], given, files)

    def _triggered(self, run) -> DalsegnoTriggeredRun:
        content = {
            "name": self.name,
            "metadata": self.metadata,
            "pathspec": (run.get("metaflow") or {}).get("pathspec") or "%s/%s" % (self.flow_name, metaflow_id(run)),
        }
        return DalsegnoTriggeredRun(self.deployer, json.dumps(content))


def api_of(deployer):
    """The daemon that the deployment was made with."""
    return Api(deployer.deployer_kwargs.get("server"), deployer.env_vars)


def known_by_name(name, metadata, deployer_kwargs, env_vars):
    flow = Api(deployer_kwargs.get("server"), env_vars).flow(name)
    if flow.get("removed"):
        raise DalsegnoError("No deployed flow found for: %s. It was there once and has been removed." % name)
    if not flow.get("metaflow"):
        raise DalsegnoError("Flow %s is none of Metaflow's: start it with `dalsegno run`." % name)
    return KnownByName(flow, metadata, deployer_kwargs, env_vars)


class KnownByName:
    """Stands for the deployer of a flow that was deployed elsewhere: what the daemon says of it is all there is."""

    TYPE = "dalsegno"

    def __init__(self, flow, metadata, deployer_kwargs, env_vars):
        from metaflow.client.core import get_metadata

        self.name = flow["name"]
        self.flow_name = flow["metaflow"]["class"]
        self.metadata = metadata or get_metadata()
        self.deployer_kwargs = deployer_kwargs
        self.env_vars = env_vars
