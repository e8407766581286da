"""A small scheduler for tests: runs a whole flow by request files, cold or warm, and keeps all that can be compared."""
import gzip
import json
import os
import pickle
import subprocess
import sys

from .warm_client import RUNTIME, WarmServer, adopt_orphans, end_group

FLOWS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "flows")
EXTENSION = os.path.dirname(RUNTIME)
RUN = "run-a"


class Stage:
    """A folder with a store of its own, and a way to run tasks: `cold` or `warm`."""

    def __init__(self, folder, mode, extra=None, python=sys.executable):
        # The word root is what flows of these tests leave out when they compare.
        self.mode, self.python = mode, python
        adopt_orphans()
        self.folder = os.path.join(folder, "root-" + mode)
        self.cwd, self.out = os.path.join(self.folder, "cwd"), os.path.join(self.folder, "out")
        self.root = os.path.join(self.folder, ".metaflow")
        for one in (self.cwd, self.out, os.path.join(self.folder, "home")):
            os.makedirs(one)
        self.environment = {
            "PATH": os.path.dirname(python) + os.pathsep + os.environ.get("PATH", ""),
            "HOME": os.path.join(self.folder, "home"),
            "METAFLOW_HOME": os.path.join(self.folder, "home"),
            "METAFLOW_USER": "tester",
            "METAFLOW_DEFAULT_METADATA": "local",
            "METAFLOW_DEFAULT_DATASTORE": "local",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": self.folder,
            "PYTHONPATH": EXTENSION,
            **(extra or {}),
        }
        self.server = WarmServer(self.folder, self.environment, python) if mode == "warm" else None
        self.top = [
            "--quiet", "--no-pylint", "--metadata=local", "--environment=local", "--datastore=local",
            "--datastore-root=" + self.root, "--event-logger=nullSidecarLogger", "--monitor=nullSidecarMonitor",
        ]

    def close(self):
        if self.server:
            self.server.close()

    def run(self, name, request, environment=None):
        """Runs one attempt; gives its exit code, outcome, stdout and stderr."""
        base = os.path.join(self.out, name)
        request = {
            "version": 1, "python": self.python, "top": self.top, "init": None, "clone": None, "step": None, "hook": None,
            "outcome": base + ".outcome.json", "triggers": [], "checkpoints": None, "logs": {"save": False},
            "run_id": RUN, "attempt": 0, **request,
        }
        with open(base + ".request.json", "w") as file:
            json.dump(request, file)
        environment = {
            **self.environment, **(environment or {}), "METAFLOW_RUN_ID": request["run_id"],
            "DALSEGNO_REQUEST": base + ".request.json",
        }
        argv = [self.python, "-u", "-S", "-E", os.path.join(RUNTIME, "run.py"), base + ".request.json"]
        if self.server:
            code = self.server.run(argv, environment, self.cwd, base + ".out", base + ".err")
        else:
            with open(base + ".out", "ab") as out, open(base + ".err", "ab") as err:
                task = subprocess.Popen(
                    argv, env=environment, cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    preexec_fn=lambda: os.setpgid(0, 0),
                )
                code = task.wait()
                end_group(task.pid)
        return {"code": code, "outcome": read_json(base + ".outcome.json"), "out": self.text(base + ".out"), "err": self.text(base + ".err")}

    def text(self, path):
        """A log, without what differs between two folders."""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().replace(self.folder, "<root>")

    def step(self, flow, step, task, inputs, attempt=0, user_retries=0, split=None, init=None, extra=(), environment=None, **more):
        arguments = [
            "step", step, "--run-id", more.get("run_id", RUN), "--task-id", task, "--retry-count", str(attempt),
            "--max-user-code-retries", str(user_retries), "--input-paths", inputs, "--namespace=user:tester", *extra,
        ]
        if split is not None:
            arguments += ["--split-index", str(split)]
        request = {
            "flow": os.path.join(FLOWS, flow), "init": init, "step": arguments, "step_name": step, "task_id": task,
            "attempt": attempt, **more,
        }
        return self.run("%s.%s.%d" % (step, task, attempt), request, environment)

    def init(self, *parameters, run=RUN):
        return ["init", "--run-id", run, "--task-id", "params", *parameters]

    def dump(self, flow, *top, environment=None):
        out = os.path.join(self.out, "dump.json")
        done = subprocess.run(
            [self.python, os.path.join(FLOWS, flow), "--quiet", "--no-pylint", *top, "dalsegno-task", "dump", "--out", out],
            env={**self.environment, **(environment or {})}, cwd=FLOWS, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        )
        return done, read_json(out)

    def artifacts(self, flow, run=RUN):
        """`step/task/attempt` -> artifact -> hash of its content."""
        found = {}
        top = os.path.join(self.root, flow, run)
        for folder, _, files in os.walk(top):
            for name in files:
                if name.endswith(".data.json"):
                    task = "%s/%s" % (os.path.relpath(folder, top), name.split(".")[0])
                    found[task] = read_json(os.path.join(folder, name))["objects"]
        return found

    def contents(self, flow, run=RUN):
        """As `artifacts`, with the pickles themselves."""
        found = {}
        for task, artifacts in self.artifacts(flow, run).items():
            for name, sha in artifacts.items():
                with gzip.open(os.path.join(self.root, flow, "data", sha[:2], sha)) as file:
                    text = file.read().decode("latin-1").replace(self.folder, "<root>")
                    found.setdefault(task, {})[name] = text
        return found

    def artifact(self, flow, task, name, run=RUN):
        """The value of one artifact of `step/task/attempt`."""
        sha = self.artifacts(flow, run)[task][name]
        with gzip.open(os.path.join(self.root, flow, "data", sha[:2], sha)) as file:
            return pickle.load(file)


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


class Performance:
    """A whole run of a flow: which task comes next is read from outcomes, as the real scheduler does."""

    def __init__(self, stage, flow, parameters=(), top=(), environments=None, triggers=(), dump_environment=None):
        self.stage, self.flow, self.parameters, self.triggers = stage, flow, list(parameters), list(triggers)
        self.environments = environments or {}
        done, self.dump = stage.dump(flow, *top, environment=dump_environment)
        if self.dump is None:
            raise AssertionError(done.stderr)
        self.steps = self.dump["steps"]
        self.attempts, self.finished, self.order = {}, {}, []

    def play(self):
        queue = [(self.dump["start"], (), 0, "%s/_parameters/params" % RUN, None)]
        while queue:
            queue += self._task(*queue.pop(0))
        return self

    def _task(self, step, path, round_, inputs, split):
        task = "t-" + "-".join(map(str, path)) + ("i%d" % round_ if round_ else "")
        described = self.steps[step]
        user, errors = described["user_code_retries"], described["error_retries"]
        gang = described["parallel_step"]
        for attempt in range(user + errs(errors) + 1):
            first = step == self.dump["start"] and attempt == 0
            result = self.stage.step(
                self.flow, step, task, inputs, attempt, user, None if gang else split,
                init=self.stage.init(*self.parameters) if first else None, triggers=self.triggers,
                extra=("--ubf-context", "ubf_control", "--split-index", "0") if gang else (),
                environment=self.environments.get(step),
            )
            self.attempts["%s/%s/%d" % (step, task, attempt)] = result
            if result["code"] == 0 and result["outcome"] and result["outcome"]["ok"]:
                self.finished[(step, path, round_)] = (task, result["outcome"])
                return self._next(step, path, round_, result["outcome"])
            if result["code"] == 202:
                break
        return []

    def _next(self, step, path, round_, outcome):
        here = "%s/%s/%s" % (RUN, step, self.finished[(step, path, round_)][0])
        found = []
        for name in outcome["next"] or []:
            if self.steps[name]["type"] == "join":
                found += self._join(name, path)
            elif outcome["num_parallel"]:
                found.append((name, path + (0,), 0, here, 0))
            elif outcome["foreach"]:
                found += [(name, path + (i,), 0, here, i) for i in range(outcome["num_splits"])]
            else:
                found.append((name, path, round_ + 1 if name == step else 0, here, None))
        return found

    def _join(self, name, path):
        split = self.steps[name]["split_parents"][-1] if self.steps[name]["split_parents"] else None
        split = next(step for step, one in self.steps.items() if one.get("matching_join") == name) if split is None else split
        into = [key for key in self.finished if name in (self.finished[key][1]["next"] or [])]
        if self.steps[split]["type"] in ("split-foreach", "split-parallel"):
            outer = path[:-1]
            card = next(one for key, (_, one) in self.finished.items() if key[0] == split and key[1] == outer)["num_splits"]
            into = sorted((key for key in into if key[1][:-1] == outer), key=lambda key: key[1])
            if len(into) < card:
                return []
            gang = self.finished[into[0]][1]["mapper_tasks"]
            inputs = ",".join(gang) if gang else ",".join(self._pathspec(key) for key in into)
            return [(name, outer, 0, inputs, None)]
        branches = self.steps[split]["next"]
        into = sorted((key for key in into if key[1] == path), key=lambda key: key[0])
        return [(name, path, 0, ",".join(self._pathspec(key) for key in into), None)] if len(into) == len(branches) else []

    def _pathspec(self, key):
        return "%s/%s/%s" % (RUN, key[0], self.finished[key][0])


def needs(version):
    """Leaves a test out where Metaflow is older than the features its flow uses."""
    import re
    import unittest

    import metaflow

    have = tuple(int(part) for part in re.findall(r"\d+", metaflow.__version__)[:2])
    return unittest.skipUnless(have >= version, "needs Metaflow %d.%d" % version)


# When Metaflow learned what the flows of these tests use.
SWITCH = (2, 18)
EXIT_HOOKS = (2, 16)


def errs(count):
    """Metaflow runs at most six attempts of a task."""
    return min(count, 3)
