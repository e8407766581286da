"""What the tests of the client share: a daemon that remembers what it was asked, and a folder with flow files."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EXTENSION = Path(__file__).resolve().parents[2]
# Metaflow looks for extensions, and for who is using it, when it is first imported.
sys.path.insert(0, str(EXTENSION))
os.environ["METAFLOW_USER"] = "ada"

PATIENCE_S = 120

FLOW = '''
from metaflow import FlowSpec, IncludeFile, JSONType, Parameter, step


class DemoFlow(FlowSpec):
    alpha = Parameter("alpha", type=float, default=0.5)
    rows = Parameter("max-rows", type=int, required=True)
    shape = Parameter("shape", type=JSONType, default='{"a": 1}')
    words = Parameter("word", type=str, multiple=True, default=["x"])
    table = IncludeFile("table")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    DemoFlow()
'''

PROJECT_FLOW = '''
import helper
from metaflow import FlowSpec, project, schedule, step


@schedule(daily=True)
@project(name="sales")
class ReportFlow(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ReportFlow()
'''

BATCH_FLOW = '''
from metaflow import FlowSpec, batch, step


class BatchFlow(FlowSpec):
    @batch(cpu=2)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    BatchFlow()
'''


class Daemon:
    """Answers as the real one does, on a free port of this machine; `asked` is all it was asked, in order."""

    def __init__(self):
        self.asked = []
        self.runs = []
        self.flows = {}
        # Answers for the next requests whose path contains the key: `(status, body)`.
        self.refusals = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = "http://127.0.0.1:%d" % self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def body(self, path):
        """What the newest request to this path brought."""
        return next(it["body"] for it in reversed(self.asked) if it["path"] == path)

    def paths(self):
        return ["%s %s" % (it["method"], it["path"]) for it in self.asked]

    def end(self, run, state):
        self.runs[int(run) - 1].update(state=state, finished_at="2026-11-22T06:00:07Z")

    def answer(self, method, path, query, body):
        for part, refusal in self.refusals.items():
            if part in path:
                return refusal
        for pattern, handler in ROUTES:
            match = re.fullmatch(pattern, "%s %s" % (method, path))
            if match:
                return handler(self, *match.groups(), query=query, body=body)
        return 404, problem(404, "No such thing", "there is no %s %s" % (method, path))

    def deploy(self, query, body):
        project = body["dump"]["project"]
        name = project["project_flow_name"] if project else body["class"]
        params = [{"name": it["name"], "type": "string"} for it in body["dump"]["parameters"]]
        self.flows[name] = {
            "name": name, "active_version": "v1", "state": "on", "removed": False, "starts": "every day at 00:00",
            "next_at": "2026-11-23T00:00:00Z", "params": params, "metaflow": {"class": body["class"], "end": body["dump"]["end"]},
        }
        return 201, {"flow": name, "version": "v1", "created": True, "warnings": ["line 3: a wish is not obeyed"]}

    def list_flows(self, query, body):
        return 200, {"items": list(self.flows.values()), "next": None}

    def flow(self, name, query, body):
        if name not in self.flows:
            return 404, problem(404, "Unknown flow", "there is no flow `%s`" % name, did_you_mean="DemoFlow")
        return 200, self.flows[name]

    def delete(self, name, query, body):
        """What was removed is known still, by its runs."""
        status, found = self.flow(name, query, body)
        if status == 200:
            found["removed"] = True
        return status, found

    def start(self, name, query, body):
        return 201, self._new(name)

    def _new(self, name):
        run_id = "dalsegno-%d-abc" % (len(self.runs) + 1)
        self.runs.append({
            "id": str(len(self.runs) + 1), "flow": name, "state": "running", "created_at": "2026-11-22T06:00:00Z",
            "finished_at": None,
            "metaflow": {"run_id": run_id, "pathspec": "%s/%s" % (name.rsplit(".", 1)[-1], run_id)},
        })
        return self.runs[-1]

    def list_runs(self, query, body):
        """Pages of two, so that paging happens."""
        wanted = query.get("state", "").split(",") if query.get("state") else None
        found = [it for it in reversed(self.runs) if it["flow"] == query["flow"]]
        found = [it for it in found if not wanted or it["state"] in wanted]
        first = int(query.get("cursor", 0))
        last = first + min(2, int(query["limit"]))
        return 200, {"items": found[first:last], "next": str(last) if last < len(found) else None}

    def run(self, number, query, body):
        return 200, self.runs[int(number) - 1]

    def by_metaflow(self, run_id, query, body):
        found = [it for it in self.runs if it["metaflow"]["run_id"] == run_id]
        return (200, found[0]) if found else (404, problem(404, "Unknown run", "there is no run %s" % run_id))

    def wait(self, number, query, body):
        """The run is over once somebody has waited for it."""
        if self.runs[int(number) - 1]["state"] == "running" and int(query["timeout"]) > 0:
            self.end(number, "succeeded")
        return self.run(number, query, body)

    def why(self, number, query, body):
        said = {"subject": "run %s" % number, "text": "step train failed: boom", "cure": "mend it and resume"}
        return 200, {"items": [said], "next": None}

    def cancel(self, number, query, body):
        self.runs[int(number) - 1]["state"] = "cancelling"
        return self.run(number, query, body)

    def resume(self, number, query, body):
        origin = self.runs[int(number) - 1]
        if "params" in body:
            return 200, self._new(origin["flow"])
        origin["state"] = "running"
        return 200, origin

    def _handler(self):
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self):
                from urllib.parse import parse_qsl, unquote, urlsplit

                parts = urlsplit(self.path)
                path = unquote(parts.path)
                assert path.startswith("/api/v1"), path
                text = self.rfile.read(int(self.headers.get("content-length") or 0))
                request = {
                    "method": self.command, "path": path[len("/api/v1"):], "query": dict(parse_qsl(parts.query)),
                    "body": json.loads(text) if text else None, "authorization": self.headers.get("authorization"),
                }
                daemon.asked.append(request)
                names = ("method", "path", "query", "body")
                status, body = daemon.answer(*(request[name] for name in names))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, *_):
                pass

        return Handler


ROUTES = [
    (r"POST /metaflow/deployments", Daemon.deploy),
    (r"GET /flows", Daemon.list_flows),
    (r"GET /flows/([^/]+)", Daemon.flow),
    (r"DELETE /flows/([^/]+)", Daemon.delete),
    (r"POST /flows/([^/]+)/runs", Daemon.start),
    (r"GET /runs", Daemon.list_runs),
    (r"GET /runs/(\d+)", Daemon.run),
    (r"GET /runs/by-metaflow/([^/]+)", Daemon.by_metaflow),
    (r"GET /runs/(\d+)/wait", Daemon.wait),
    (r"GET /runs/(\d+)/why", Daemon.why),
    (r"POST /runs/(\d+)/cancel", Daemon.cancel),
    (r"POST /runs/(\d+)/resume", Daemon.resume),
]


def problem(status, title, detail, **more):
    return {"type": "/docs/errors#x", "title": title, "status": status, "code": "x", "detail": detail, **more}


class ClientTest(unittest.TestCase):
    """A folder with flow files, and a daemon of its own for each test."""

    def setUp(self):
        self.folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="dalsegno-client-")))
        self.addCleanup(shutil.rmtree, self.folder)
        self.write("demo.py", FLOW)
        self.write("report.py", PROJECT_FLOW)
        self.write("batched.py", BATCH_FLOW)
        self.write("helper.py", "")
        self.daemon = Daemon()
        self.addCleanup(self.daemon.stop)
        kept = {name: it for name, it in os.environ.items() if not name.startswith(("METAFLOW_", "DALSEGNO_"))}
        self.env = {
            **kept,
            "PYTHONPATH": str(EXTENSION),
            "PYTHONDONTWRITEBYTECODE": "1",
            "METAFLOW_USER": "ada",
            "METAFLOW_DEFAULT_METADATA": "local",
            "METAFLOW_DEFAULT_DATASTORE": "local",
            "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(self.folder),
            "DALSEGNO_URL": self.daemon.url,
        }

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def flow(self, *arguments, env=None):
        """`python demo.py --no-pylint …` in the folder: `(exit code, standard output, standard error)`."""
        file, *rest = arguments
        done = subprocess.run(
            [sys.executable, file, "--no-pylint", *rest],
            cwd=self.folder, env={**self.env, **(env or {})}, capture_output=True, text=True, timeout=PATIENCE_S,
        )
        return done.returncode, done.stdout, done.stderr

    def ok(self, *arguments, env=None):
        code, out, err = self.flow(*arguments, env=env)
        self.assertEqual(code, 0, out + err)
        return out, err

    def refused(self, *arguments, env=None):
        code, out, err = self.flow(*arguments, env=env)
        self.assertNotEqual(code, 0, out + err)
        return err


def unpacked(package):
    """The files of a package by name."""
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(package)), mode="r:gz") as archive:
        return {it.name: archive.extractfile(it).read().decode() for it in archive.getmembers()}
