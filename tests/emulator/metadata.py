"""A metadata service for Metaflow, over HTTP, as far as runs of flows need one: `python metadata.py --port N --state FILE`.

What it accepts is written to FILE, one line each, and read from there by the next one that is started on it. As the real
service it gives each row its own number and time, answers 409 to what is registered, 404 or 500 to what comes before its
parents, takes the same metadata twice, and takes artifacts that it has without a word: its answer counts the new ones.

`POST /_faults` with `{"status": 503, "paths": "REGEX", "times": N}` says how it fails from then on: a status, `"hang"`, or
`"lose"` (done, and no answer). `GET /_told` gives the lines. It ends when its standard input does.
"""
import argparse
import http.server
import json
import os
import re
import sys
import threading
import time
import urllib.parse

OBJECT = re.compile(r"/flows/([^/]+)(?:/runs/([^/]+)(?:/steps/([^/]+)(?:/tasks/([^/]+))?)?)?")


class Service:
    def __init__(self, state):
        self.lock, self.rows, self.metadata, self.artifacts = threading.RLock(), {}, [], {}
        self.numbers, self.told, self.faults, self.state = 0, [], None, None
        if os.path.exists(state):
            with open(state) as lines:
                for line in lines:
                    one = json.loads(line)
                    self.handle(one["method"], one["path"], one["body"])
        self.state = open(state, "a", buffering=1)

    def handle(self, method, path, body):
        with self.lock:
            status, value = getattr(self, method.lower())(path, body)
            if method != "GET" and not path.endswith("/heartbeat"):
                one = {"method": method, "path": path, "body": body, "status": status, "answer": value}
                self.told.append(one)
                if self.state and status == 200:
                    self.state.write(json.dumps(one) + "\n")
            return status, value

    def post(self, path, body):
        if path.endswith("/heartbeat"):
            return 200, json.dumps({"wait_time_in_seconds": 10})
        parts = path.split("/")
        kind = parts[-1] if len(parts) > 3 else "flow"
        if kind in ("metadata", "artifact"):
            task = self.rows.get(path.rsplit("/", 1)[0])
            if task is None:
                return 400, {"message": "need to register run_id and task_id first"}
            return getattr(self, "add_" + kind)(path.rsplit("/", 1)[0], body)
        if kind == "flow":
            key, parent = path, None
        elif kind == "run":
            parent, name = path[:-len("/run")], body.get("run_number")
            key = "%s/runs/%s" % (parent, name or self.numbers + 1)
        elif kind == "step":
            key = path[:-len("/step")]
            parent = key.split("/steps/")[0]
        else:
            parent = path[:-len("/task")]
            key = "%s/tasks/%s" % (parent, body.get("task_id") or self.numbers + 1)
        if parent is not None and parent not in self.rows:
            return (404 if kind == "run" else 500), {"err_msg": "foreign key"}
        if key in self.rows:
            return 409, {"err_msg": "duplicate key"}
        self.numbers += 1
        flow, run, step, task = OBJECT.fullmatch(key).groups()
        row = {"flow_id": flow, "run_number": run, "step_name": step, "task_id": task, "number": self.numbers}
        row = {name: value for name, value in row.items() if value is not None}
        row.update(
            user_name=body.get("user_name"), tags=body.get("tags") or [], system_tags=body.get("system_tags") or [],
            ts_epoch=now(), last_heartbeat_ts=None,
        )
        self.rows[key] = row
        return 200, self.shown(key)

    def add_metadata(self, task, body):
        for one in body:
            self.numbers += 1
            self.metadata.append({**self.ids(task), "id": self.numbers, "ts_epoch": now(), **one})
        return 200, {"metadata_created": len(body)}

    def add_artifact(self, task, body):
        new = 0
        for one in body:
            key = (task, one.get("attempt_id", 0), one["name"])
            if key not in self.artifacts:
                self.artifacts[key] = {**self.ids(task), "ts_epoch": now(), **one}
                new += 1
        return 200, {"artifacts_created": new}

    def patch(self, path, body):
        run = self.rows.get(path[:-len("/tag/mutate")])
        if run is None:
            return 404, {}
        if set(body["tags_to_remove"]) & set(run["system_tags"]):
            return 422, "system tags stay"
        run["tags"] = sorted((set(run["tags"]) - set(body["tags_to_remove"])) | set(body["tags_to_add"]))
        return 200, {"tags": run["tags"]}

    def get(self, path, _body):
        path, _, query = path.partition("?")
        if path in self.rows:
            return 200, self.shown(path)
        if path == "/flows":
            return 200, [self.shown(key) for key in self.rows if key.count("/") == 2]
        above, _, what = path.rpartition("/")
        if what in ("runs", "steps", "tasks"):
            begin = path + "/"
            return 200, [self.shown(key) for key in self.rows if key.startswith(begin) and "/" not in key[len(begin):]]
        if what == "filtered_tasks":
            return 200, self.filtered(above, dict(urllib.parse.parse_qsl(query)))
        if what == "metadata":
            return 200, [one for one in reversed(self.metadata) if self.path_of(one).startswith(above)]
        found = re.fullmatch(r"(.*)/attempt/(\d+)/artifacts", path)
        if found:
            return 200, self.artifacts_of(found.group(1), int(found.group(2)))
        if what == "artifacts":
            return 200, self.artifacts_of(above, None)
        found = re.fullmatch(r"(.*)/artifacts/([^/]+)(?:/attempt/(\d+))?", path)
        if found:
            attempt = int(found.group(3)) if found.group(3) else None
            for one in self.artifacts_of(found.group(1), attempt):
                if one["name"] == found.group(2):
                    return 200, one
        return 404, {}

    def filtered(self, step, query):
        """Tasks of a step with such a value of metadata, as pathspecs."""
        field, pattern = query.get("metadata_field_name"), query.get("pattern", "")
        found = {}
        for one in self.metadata:
            if self.path_of(one).startswith(step + "/") and field in (None, one["field_name"]) and re.search(pattern, str(one["value"])):
                found["%(flow_id)s/%(run_number)s/%(step_name)s/%(task_id)s" % one] = None
        return list(found)

    def artifacts_of(self, task, attempt):
        if attempt is None:
            attempt = max((it for path, it, _ in self.artifacts if path == task), default=0)
        return [one for (path, it, _), one in self.artifacts.items() if path == task and it == attempt]

    def ids(self, task):
        flow, run, step, name = OBJECT.fullmatch(task).groups()
        return {"flow_id": flow, "run_number": run, "step_name": step, "task_id": name}

    def path_of(self, one):
        return "/flows/%(flow_id)s/runs/%(run_number)s/steps/%(step_name)s/tasks/%(task_id)s" % one

    def shown(self, key):
        row = dict(self.rows[key])
        del row["number"]
        run = "/steps/".join(key.split("/steps/")[:1])
        if run != key and run in self.rows:
            row.update(tags=self.rows[run]["tags"], system_tags=self.rows[run]["system_tags"])
        return row

    def fault(self, path):
        with self.lock:
            wanted = self.faults
            if not wanted or not re.search(wanted.get("paths", ""), path):
                return None
            if "times" in wanted:
                wanted["times"] -= 1
                if wanted["times"] <= 0:
                    self.faults = None
            return wanted["status"]


def now():
    return int(time.time() * 1000)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def do_PATCH(self):
        self.serve("PATCH")

    def serve(self, method):
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        service = self.server.service
        if self.path == "/_told":
            return self.answer(200, service.told)
        if self.path == "/_faults":
            service.faults = body
            return self.answer(200, {})
        fault = service.fault(self.path)
        if fault == "hang":
            self.close_connection = True
            return threading.Event().wait(30)
        if isinstance(fault, int):
            return self.answer(fault, {"message": "as was asked for"})
        if self.server.key and self.headers.get("x-api-key") != self.server.key:
            return self.answer(403, {"message": "the key is wrong"})
        status, value = (200, "pong") if self.path == "/ping" else service.handle(method, self.path, body)
        if fault == "lose":
            self.close_connection = True
            return None
        return self.answer(status, value)

    def answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("METADATA_SERVICE_VERSION", "2.5.1")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--state", required=True)
    options.add_argument("--key")
    options = options.parse_args()
    server = Server(("127.0.0.1", options.port), Handler)
    server.service, server.key = Service(options.state), options.key
    print("http://127.0.0.1:%d" % server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
