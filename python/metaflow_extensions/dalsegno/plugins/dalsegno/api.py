"""The daemon's HTTP API, as far as a Metaflow client needs it."""

import json
import os

from .errors import NotReachable, Refused

DEFAULT_URL = "http://127.0.0.1:8320"

# An answer is a decision and a commit: a daemon that needs longer is stuck.
TIMEOUT_S = 60
# How long one request waits for the end of a run; the daemon allows 300.
WAIT_S = 60


class Api:
    """One daemon. `env` is the environment that names it, by default this process's own."""

    def __init__(self, url=None, env=None):
        env = os.environ if env is None else env
        url = url or env.get("DALSEGNO_URL") or env.get("DALSEGNO_SERVER") or DEFAULT_URL
        self.url = url.rstrip("/")
        self.token = env.get("DALSEGNO_TOKEN")

    def flow(self, name):
        return self.get("/flows/" + quote(name))

    def run(self, run):
        """A run by Metaflow's run id (`dalsegno-…`) or by the daemon's number."""
        run = str(run).rsplit("/", 1)[-1]
        return self.get(("/runs/" if run.isdigit() else "/runs/by-metaflow/") + quote(run))

    def runs(self, flow, states=(), limit=None):
        """Runs of a flow, newest first."""
        query = {"flow": flow, "state": ",".join(states) or None}
        left = limit
        while left is None or left > 0:
            page = self.get("/runs", limit=100 if left is None else min(left, 100), **query)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            query["cursor"] = page.get("next")
            if not query["cursor"]:
                return

    def wait(self, run, seconds):
        """The run when it has ended, or as it stands after so many seconds (at most 300)."""
        path = "/runs/%s/wait" % quote(run["id"])
        return self._ask("GET", path, query={"timeout": int(seconds)}, timeout=seconds + TIMEOUT_S)

    def why(self, run):
        return self.get("/runs/%s/why" % quote(run["id"]))["items"]

    def get(self, path, **query):
        return self._ask("GET", path, query=query)

    def post(self, path, body):
        return self._ask("POST", path, body=body)

    def delete(self, path):
        return self._ask("DELETE", path)

    def _ask(self, method, path, query=None, body=None, timeout=TIMEOUT_S):
        # Metaflow imports every extension at each start; these two would be paid for by all its commands.
        import http.client
        import urllib.error
        import urllib.parse
        import urllib.request

        query = {name: value for name, value in (query or {}).items() if value is not None}
        url = "%s/api/v1%s%s" % (self.url, path, "?" + urllib.parse.urlencode(query) if query else "")
        headers = {"Accept": "application/json", "User-Agent": "metaflow-dalsegno"}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            request = urllib.request.Request(url, data=data, headers=headers, method=method)
            with self._opener().open(request, timeout=timeout) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            raise Refused(problem_of(error)) from None
        except urllib.error.URLError as error:
            raise NotReachable(self.url, error.reason) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotReachable(self.url, error) from None
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise NotReachable(self.url, "what answers there is no Dalsegno daemon") from None

    def _opener(self):
        """A proxy is for other machines: this one's own daemon is spoken to directly."""
        import urllib.parse
        import urllib.request

        host = urllib.parse.urlsplit(self.url).hostname or ""
        local = host == "localhost" or host == "::1" or host.startswith("127.")
        return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))


def problem_of(error):
    """The problem in a refusal's body, or one made of the status when something else answered."""
    try:
        problem = json.loads(error.read())
    except (OSError, ValueError):
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": "HTTP %s" % error.code, "detail": str(error.reason)}
    problem.setdefault("status", error.code)
    return problem


def quote(text):
    from urllib.parse import quote as quoted

    return quoted(str(text), safe="")
