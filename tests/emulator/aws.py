"""An emulator of AWS on 127.0.0.1, for tests: moto, with what it says wrong put right, jobs that really run, and faults
on demand.

S3, SQS, SNS, IAM, EventBridge and CloudWatch's logs are moto's. Batch is our own (`batch.py`, `jobs.py`, `records.py`):
a job runs its command as a process of this machine. So are Step Functions (`states.py`, `interpreter.py`, `tasks.py`,
`maps.py`, `asl.py`, `history.py`), whose definitions moto's parser judges. Faults are in `faults.py`, events that come late, twice or never in `events.py`.

Many tests share one emulator: each makes things with names of its own, and nothing is ever reset.
"""

import argparse
import faulthandler
import io
import json
import os
import signal
import sys
import threading
import urllib.parse


class Emulator:
    """The application: what is ours, and moto for the rest, one request after another."""

    def __init__(self, moto):
        from faults import Faults

        self.moto = moto
        self.faults = Faults()

    def __call__(self, request, respond):
        body = request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        request["wsgi.input"] = io.BytesIO(body)
        path = request["PATH_INFO"]
        if path.startswith("/_"):
            return self.manage(request, path, body, respond)
        from faults import service_and_op

        service, region, op = service_and_op(request)
        if service == "batch":
            application = self.batch(region, body)
        elif service == "states":
            application = self.states(region, op, body)
        elif op == "ReceiveMessage":
            application = self.moto
        else:
            application = self.in_turn
        return self.faults.apply(service, op, body, request, respond, application)

    def in_turn(self, request, respond):
        from lock import LOCK

        with LOCK:
            return list(self.moto(request, respond))

    def batch(self, region, body):
        import batch

        def application(request, respond):
            path = urllib.parse.unquote(request["PATH_INFO"])
            query = urllib.parse.parse_qs(request.get("QUERY_STRING", ""))
            status, said, code = batch.answer(region, request["REQUEST_METHOD"], path, query, body)
            return tell(respond, status, said, code)

        return application

    def states(self, region, op, body):
        import states

        def application(_request, respond):
            return tell(respond, *states.answer(region, op, body))

        return application

    def manage(self, request, path, body, respond):
        """The pages for tests, below `/_`."""
        import batch
        import events
        import states

        method = request["REQUEST_METHOD"]
        query = urllib.parse.parse_qs(request.get("QUERY_STRING", ""))
        kind, _, rest = path[2:].partition("/")
        try:
            if kind == "fault":
                status, said = self.faults.manage(method, query, body)
            elif kind == "batch":
                status, said = batch.manage(method, rest, query, body)
            elif kind == "events":
                status, said = events.manage(method, rest, body)
            elif kind == "states":
                status, said = states.manage(method, rest, query, body)
            else:
                status, said = 404, {"message": f"there is no {path}"}
        except (KeyError, ValueError) as error:
            status, said = 400, {"message": f"{error!r}"}
        return tell(respond, status, said)


WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 409: "Conflict"}


def tell(respond, status, said, code=None):
    body = json.dumps(said).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if code is not None:
        headers.append(("x-amzn-errortype", code))
    respond(f"{status} {WORDS.get(status, 'Error')}", headers)
    return [body]


def leash():
    """Ends with who holds the other end of the standard input."""
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--leash", action="store_true", help="end when the standard input does")
    given = arguments.parse_args()
    # Jobs and the interpreter of Step Functions speak to us by it; moto reads it when it is loaded.
    os.environ["MOTO_PORT"] = str(given.port)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import storage  # noqa: F401
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    class Quiet(MotoRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_request(self, *_):
            pass

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # Where all threads are, when somebody asks.
    faulthandler.register(signal.SIGUSR1)
    if given.leash:
        threading.Thread(target=leash, daemon=True).start()
    application = Emulator(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", given.port, application, threaded=True, use_reloader=False, request_handler=Quiet)


if __name__ == "__main__":
    main()
