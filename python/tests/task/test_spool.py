"""What a metadata service cannot be told: kept whole, in order and within bounds, whoever writes and dies."""
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

from .orchestra import EXTENSION

PLUGINS = os.path.join(EXTENSION, "metaflow_extensions", "dalsegno_task", "plugins")
SERVICE = "http://127.0.0.1:9"  # nobody listens there

WRITER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("spool", %r)
spool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(spool)
kept = spool.Spool(sys.argv[1], "R", 1 << 30, 10 ** 6)
for number in range(200):
    kept.add({"path": "/flows/F", "body": {"by": sys.argv[2], "number": number}})
""" % os.path.join(PLUGINS, "spool.py")

TASK = """
from metaflow.metaflow_environment import MetaflowEnvironment
from metaflow.plugins import METADATA_PROVIDERS

class Flow:
    name = "F"

provider = [it for it in METADATA_PROVIDERS if it.TYPE == "service"][0](MetaflowEnvironment(None), Flow, None, None)
provider._register_system_metadata = lambda *_: None
"""


def load():
    spec = importlib.util.spec_from_file_location("dalsegno_spool", os.path.join(PLUGINS, "spool.py"))
    spool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(spool)
    return spool


class Spool(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dalsegno")
        self.addCleanup(folder.cleanup)
        self.folder, self.spool = folder.name, load()
        self.kept = self.spool.Spool(self.folder, "R", 1 << 20, 5)

    def lines(self):
        with open(os.path.join(self.folder, "R.spool"), "rb") as file:
            return [(json.loads(line.rpartition(b" ")[0]), int(line.rpartition(b" ")[2])) for line in file]

    def add(self, number):
        self.kept.add({"path": "/flows/F", "body": number})

    def test_many_writers_leave_whole_lines_in_order(self):
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, self.folder, str(it)]) for it in range(4)]
        self.assertEqual([it.wait() for it in writers], [0] * 4)
        lines = self.lines()
        self.assertEqual([number for _, number in lines], list(range(1, 801)))
        for writer in "0123":
            own = [it["body"]["number"] for it, _ in lines if it["body"]["by"] == writer]
            self.assertEqual(own, list(range(200)))

    def test_half_a_line_of_a_writer_that_died_is_cut(self):
        self.add(1)
        with open(self.kept.path, "ab") as file:
            file.write(b'{"path": "/flows/F", "bo')
        self.add(2)
        self.assertEqual([(it["body"], number) for it, number in self.lines()], [(1, 1), (2, 2)])

    def test_what_arrived_makes_room_again(self):
        for number in range(5):
            self.add(number)
        with self.assertRaisesRegex(self.spool.Full, "5 updates of run R wait"):
            self.add(5)
        with open(os.path.join(self.folder, "R.sent"), "w") as file:
            file.write("2")
        self.add(5)
        self.assertEqual(self.lines()[-1][1], 6)

    def test_bytes_are_counted_over_all_runs(self):
        with open(os.path.join(self.folder, "Q.spool"), "wb") as file:
            file.write(b"x" * (1 << 20))
        with self.assertRaisesRegex(self.spool.Full, "1048576 bytes of updates wait"):
            self.add(1)
        self.assertFalse(self.kept.waits(), "an empty file is nothing that waits")

    def test_a_file_that_was_taken_away_meanwhile_is_made_anew(self):
        self.add(1)
        os.rename(self.kept.path, self.kept.path + ".gone")
        self.add(2)
        self.assertEqual([number for _, number in self.lines()], [1])

    def test_a_service_that_failed_is_not_asked_for_a_while_and_never_for_long(self):
        down = self.spool.Down(self.folder)
        self.assertFalse(down.is_down())
        down.failed("refused")
        self.assertTrue(down.is_down())
        with open(os.path.join(self.folder, "down"), "w") as file:
            file.write("%f\n" % (time.time() + 3600))
        self.assertFalse(down.is_down(), "the clock was changed")


class Provider(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dalsegno")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_task(self, code, **variables):
        spool = {"folder": self.folder, "url": SERVICE, "bytes": 1 << 20, "entries": 100, "seconds": 1}
        environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": self.folder, "METAFLOW_HOME": self.folder, "PYTHONPATH": EXTENSION,
            "METAFLOW_USER": "tester", "METAFLOW_SERVICE_URL": SERVICE, "METAFLOW_SERVICE_RETRY_COUNT": "1",
            "METAFLOW_RUN_ID": "R", "DALSEGNO_METADATA_SPOOL": json.dumps(spool), **variables,
        }
        done = subprocess.run(
            [sys.executable, "-c", TASK + code], env=environment, cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def paths(self):
        try:
            with open(os.path.join(self.folder, "R.spool")) as file:
                return [json.loads(line.rpartition(" ")[0])["path"] for line in file]
        except FileNotFoundError:
            return []

    def test_a_task_registers_itself_once_and_a_second_attempt_finds_it(self):
        for attempt in range(2):
            self.run_task("provider.register_run_id('R'); provider.register_task_id('R', 'start', 't', %d)" % attempt)
        step = "/flows/F/runs/R/steps/start/"
        self.assertEqual(self.paths(), ["/flows/F", "/flows/F/run", step + "step", step + "task"])

    def test_tags_of_the_run_are_known_as_far_as_they_were_told_here(self):
        code = """
provider.register_run_id('R', tags=['a', 'b'])
print(sorted(provider._mutate_user_tags_for_run('F', 'R', tags_to_add=['c'], tags_to_remove=['a'])))
"""
        self.assertEqual(self.run_task(code), "['b', 'c']")

    def test_what_only_the_service_knows_fails_as_ever(self):
        code = """
def fails(ask):
    try:
        ask()
    except Exception as error:
        return type(error).__name__
print([
    fails(lambda: provider.new_run_id()),
    fails(lambda: provider.register_run_id('other')),
    fails(lambda: provider.get_object('run', 'self', {}, None, 'F', 'R')),
])
"""
        answer = self.run_task("provider.register_run_id('R')\n" + code)
        self.assertEqual(answer, "['ConnectionError', 'ConnectionError', 'ConnectionError']")
        self.assertEqual(self.paths()[:2], ["/flows/F", "/flows/F/run"])

    def test_a_service_that_the_daemon_does_not_know_is_not_spooled_for(self):
        code = """
try:
    provider.register_run_id('R')
except Exception as error:
    print(type(error).__name__)
"""
        other = SERVICE + "/other"
        self.assertEqual(self.run_task(code, METAFLOW_SERVICE_URL=other), "ConnectionError")
        self.assertEqual(self.paths(), [])


if __name__ == "__main__":
    unittest.main()
