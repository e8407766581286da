"""The decorator every task carries (`--with=dalsegno_internal`): it tells the scheduler how the task ended."""
import json
import os
import sys

from metaflow import current
from metaflow.decorators import StepDecorator
from metaflow.metadata_provider import MetaDatum

from . import attempts, checkpoints

# How much of a foreach is shown to people.
LABELS_MAX = 1000
LABEL_LENGTH_MAX = 30

# What Metaflow's own @batch tells of the job that a task was.
_JOB = [
    ("aws-batch-job-id", "AWS_BATCH_JOB_ID"),
    ("aws-batch-job-attempt", "AWS_BATCH_JOB_ATTEMPT"),
    ("aws-batch-ce-name", "AWS_BATCH_CE_NAME"),
    ("aws-batch-jq-name", "AWS_BATCH_JQ_NAME"),
    ("aws-batch-execution-env", "AWS_EXECUTION_ENV"),
]


class DalsegnoInternalDecorator(StepDecorator):
    name = "dalsegno_internal"
    _request = None
    _process = None
    _error = None

    def step_init(self, flow, graph, step_name, decorators, environment, flow_datastore, logger):
        request = _read_request()
        if not request or request.get("step_name") != step_name:
            return
        # Kept: a step may change its environment and its folder.
        self._request, self._process = request, os.getpid()
        attempts.fill_gap(flow_datastore, request["run_id"], step_name, request["task_id"], request["attempt"])
        # Before any decorator's task_pre_step, so that they see both.
        self._set_trigger(request)
        earlier = (request.get("checkpoints") or {}).get("from")
        if earlier:
            checkpoints.carry_over(flow, flow_datastore, request, earlier, logger)

    def task_pre_step(
        self, step_name, task_datastore, metadata, run_id, task_id, flow, graph,
        retry_count, max_user_code_retries, ubf_context, inputs,
    ):
        request = self._request_of(step_name, run_id, task_id)
        if request is None:
            # A worker of a gang. Its attempts are its control task's.
            attempts.fill_gap(task_datastore.parent_datastore, run_id, step_name, task_id, retry_count)
            return
        self._set_trigger(request)
        triggers = request.get("triggers")
        if triggers and step_name == getattr(graph, "start_step", "start"):
            entry = MetaDatum(
                field="execution-triggers", value=json.dumps(triggers), type="execution-triggers",
                tags=["attempt_id:%d" % retry_count],
            )
            metadata.register_metadata(run_id, step_name, task_id, [entry])
        job = [
            MetaDatum(field=field, value=os.environ[name], type=field, tags=["attempt_id:%d" % retry_count])
            for field, name in _JOB if name in os.environ
        ]
        if job:
            metadata.register_metadata(run_id, step_name, task_id, job)
        self._watch_persist(task_datastore, flow, graph, step_name, retry_count)

    def task_exception(self, exception, step_name, flow, graph, retry_count, max_user_code_retries):
        self._error = one_line(exception)
        return False

    def task_finished(self, step_name, flow, graph, is_task_ok, retry_count, max_user_code_retries):
        # SystemExit passes by task_exception; it is on its way out while this runs.
        leaving = sys.exc_info()[1]
        if is_task_ok is None and leaving is not None:
            self._error = one_line(leaving)
        self._report(flow, graph, step_name, retry_count, is_task_ok is True)

    def _request_of(self, step_name, run_id, task_id):
        """The request, if it is about this task and this process, which may have forked, is the one that it was for."""
        request = self._request
        if request is None or self._process != os.getpid():
            return None
        asked = (request["run_id"], request["step_name"], request["task_id"])
        return request if asked == (run_id, step_name, task_id) else None

    def _set_trigger(self, request):
        if not request.get("triggers"):
            return
        from metaflow.events import Trigger

        current._update_env({"trigger": Trigger([dict(one) for one in request["triggers"]])})

    def _watch_persist(self, task_datastore, flow, graph, step_name, retry_count):
        """An artifact that cannot be stored ends the task without any hook being called: say it here."""
        persist = task_datastore.persist

        def watched(*args, **kwargs):
            try:
                return persist(*args, **kwargs)
            except BaseException as error:
                self._error = one_line(error)
                self._report(flow, graph, step_name, retry_count, False)
                raise

        task_datastore.persist = watched

    def _report(self, flow, graph, step_name, retry_count, ok):
        request = self._request_of(step_name, current.run_id, current.task_id)
        if request is None:
            return
        outcome = {
            "ok": ok, "next": None, "foreach": None, "num_splits": None, "num_parallel": None, "labels": None,
            "caught": False, "mapper_tasks": None, "error": None if ok else self._error,
            "stage": "step", "attempt": retry_count, "pathspec": current.pathspec,
        }
        if ok:
            outcome.update(transition(flow, graph[step_name]))
            outcome["caught"] = not getattr(flow, "_success", True)
            if outcome["caught"]:
                outcome["error"] = self._error
        write_outcome(request["outcome"], outcome)


def shortened(label):
    """A label that is cut says so; Metaflow has cut its own to the same length without a word."""
    return label if len(label) < LABEL_LENGTH_MAX else label[:LABEL_LENGTH_MAX - 1] + "…"


def transition(flow, node):
    """Where a finished task goes on, from what Metaflow itself keeps of `self.next`."""
    found = {}
    taken = getattr(flow, "_transition", None)
    if taken is None:
        # A step that returned before self.next has no successor; the end step needs none.
        return {"next": None if node.out_funcs else []}
    found["next"] = list(taken[0])
    found["foreach"] = taken[1]
    parallel = getattr(getattr(flow, "_parallel_ubf_iter", None), "num_parallel", None)
    if node.type == "foreach" and node.parallel_foreach:
        found["num_parallel"], found["num_splits"] = parallel, 1
        found["foreach"] = found["foreach"] or "_parallel_ubf_iter"
    elif found["foreach"]:
        found["num_splits"] = getattr(flow, "_foreach_num_splits", None)
        values = getattr(flow, "_foreach_values", None)
        if values:
            found["labels"] = [shortened(str(one)) for one in values[:LABELS_MAX]]
    if getattr(node, "parallel_step", False):
        mappers = getattr(flow, "_control_mapper_tasks", None)
        found["mapper_tasks"] = list(mappers) if mappers else None
    return found


def one_line(error):
    """The last line of a traceback: `ValueError: boom`."""
    import traceback

    lines = [line for line in "".join(traceback.format_exception_only(type(error), error)).splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith(" ")), lines[0] if lines else repr(error))
    return first[:2000]


def write_json(path, value):
    """All or nothing: a reader never sees half of it."""
    _write(path, json.dumps(value).encode())


def write_outcome(path, outcome):
    """As `write_json`; what is no Unicode, as names of files need not be, becomes question marks."""
    _write(path, json.dumps(outcome, ensure_ascii=False).encode("utf-8", "replace"))


def _write(path, content):
    part = "%s.%d.part" % (path, os.getpid())
    with open(part, "wb") as file:
        file.write(content)
    os.replace(part, path)


def _read_request():
    path = os.environ.get("DALSEGNO_REQUEST")
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None
