"""Runs Metaflow's own tests for orchestrators (`test/ux/core` of its repository) against Dalsegno.

    python run.py --metaflow ~/src/metaflow --dalsegno target/debug/dalsegno
    python run.py --metaflow ~/src/metaflow --url http://127.0.0.1:8320 -- -k resume

Nothing of the checkout is changed. The interpreter needs Metaflow, pytest, pytest-timeout and omegaconf. What follows
`--` goes to pytest. The exit code is pytest's.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A debug build on a busy machine opens its database and its page in seconds, not in minutes.
START_S = 60
STOP_S = 60
# These look at what Metaflow's compilers for other schedulers write.
FOREIGN = "test_*_compilation.py"


def main():
    arguments = parsed()
    work = Path(arguments.work or tempfile.mkdtemp(prefix="dalsegno-compliance-")).resolve()
    (work / "flows").mkdir(parents=True, exist_ok=True)
    (work / "home").mkdir(exist_ok=True)
    environment = {**kept(os.environ), **settings(work)}
    print("working in %s" % work, flush=True)
    if arguments.url:
        return tests(arguments, work, {**environment, "DALSEGNO_URL": arguments.url})
    with Daemon(arguments.dalsegno, work, environment) as daemon:
        print("daemon at %s" % daemon.url, flush=True)
        return tests(arguments, work, {**environment, "DALSEGNO_URL": daemon.url})


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metaflow", required=True, type=Path, help="a checkout of Metaflow's repository")
    parser.add_argument("--dalsegno", default="dalsegno", help="the binary; a daemon is started with it")
    parser.add_argument("--url", help="a daemon that runs already, on this machine")
    parser.add_argument("--work", help="the folder to work in; by default a new one")
    parser.add_argument("--installed", action="store_true", help="metaflow-dalsegno is installed; do not take it from here")
    parser.add_argument("--as-shipped", action="store_true", help="pass over what the tests themselves pass over")
    parser.add_argument("rest", nargs="*", help="for pytest")
    arguments = parser.parse_args()
    arguments.tests = arguments.metaflow.resolve() / "test" / "ux" / "core"
    if not (arguments.tests / "test_compliance.py").is_file():
        parser.error("%s is no checkout of Metaflow: there is no test/ux/core in it" % arguments.metaflow)
    return arguments


def kept(environment):
    """Nothing of this machine's Metaflow may decide where the tests look for data."""
    return {name: value for name, value in environment.items() if not name.startswith("METAFLOW_")}


def settings(work):
    return {
        "METAFLOW_HOME": str(work / "home"),
        # The tests' own default is a profile of Metaflow's development stack.
        "METAFLOW_PROFILE": "",
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(work),
        "METAFLOW_USER": "compliance",
    }


def tests(arguments, work, environment):
    paths = [str(HERE)]
    if not arguments.installed:
        paths.append(str(HERE.parent))
    if not arguments.as_shipped:
        environment["DALSEGNO_COMPLIANCE_ALL"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(paths + [it for it in [environment.get("PYTHONPATH")] if it])
    command = [
        sys.executable, "-m", "pytest", str(arguments.tests), "--ignore-glob", str(arguments.tests / FOREIGN),
        "-p", "dalsegno_compliance",
        "--scheduler-type", "dalsegno", "--exec-mode", "deployer", "--junitxml", str(work / "results.xml"), "-rsxfE",
        "-o", "cache_dir=%s" % (work / "pytest"), *arguments.rest,
    ]
    return subprocess.run(command, cwd=work, env=environment).returncode


class Daemon:
    """A daemon for these tests alone, on a free port; what it says is in `daemon.log`."""

    def __init__(self, binary, work, environment):
        self.log = work / "daemon.log"
        command = [binary, "up", str(work / "flows"), "--port", "0", "--data", str(work / "data")]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            said = re.search(r"http://127\.0\.0\.1:[1-9]\d*", self.log.read_text(errors="replace"))
            if said and answers(said.group()):
                self.url = said.group()
                return self
            time.sleep(0.05)
        self.__exit__()
        raise SystemExit("the daemon did not start; it said:\n" + self.log.read_text(errors="replace"))

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def answers(url):
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(url + "/readyz", timeout=5).status == 200
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
