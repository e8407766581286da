"""Attempts that never came to Metaflow: whoever reads the task finds what the newest one made."""
import os
import subprocess
import tempfile
import unittest

from .orchestra import RUN, Stage

PARAMETERS = RUN + "/_parameters/params"


class Gaps(unittest.TestCase):
    mode = "cold"

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dalsegno")
        self.addCleanup(folder.cleanup)
        self.stage = Stage(folder.name, self.mode)
        self.addCleanup(self.stage.close)

    def attempt(self, step, task, inputs, number, how=None, extra=(), retries=5):
        """One attempt; `how` it ends, if not well."""
        result = self.stage.step(
            "gaps.py", step, task, inputs, number, user_retries=retries, extra=extra,
            init=self.stage.init() if step == "start" and how != "UNBORN" else None,
            environment={how: "yes"} if how else None,
        )
        self.assertEqual(result["code"] == 0, how is None, result["err"])
        return result

    def client(self, code):
        """What Metaflow's client says, in a process of its own."""
        done = subprocess.run(
            [self.stage.python, "-c", "from metaflow import Task, namespace; namespace(None); print(%s)" % code],
            env=self.stage.environment, cwd=self.stage.cwd, stdout=subprocess.PIPE, universal_newlines=True, check=True,
        )
        return done.stdout.strip()

    def next(self, task, artifact="found"):
        """What the step that follows reads of the task."""
        self.attempt("split", "t", "%s/start/%s" % (RUN, task), 0)
        return self.stage.artifact("Gaps", "split/t/0", artifact)

    def test_the_next_step_reads_the_attempt_after_the_gap(self):
        for number, how in enumerate(("FAILS", "UNBORN", "UNBORN", None)):
            self.attempt("start", "t", PARAMETERS, number, how)
        self.assertEqual(self.next("t"), "right")
        task = "Task('Gaps/run-a/start/t'%s)"
        self.assertEqual(self.client("(lambda it: (it.current_attempt, it.data.found, it.successful))(" + task % "" + ")"), "(3, 'right', True)")
        found = "[Task('Gaps/run-a/start/t', attempt=n).data.found for n in (0, 3)]"
        self.assertEqual(self.client(found), "['wrong', 'right']")

    def test_a_join_reads_what_the_workers_of_a_gang_made_after_the_gap(self):
        self.attempt("start", "t", PARAMETERS, 0)
        self.next("t")
        control = ("--ubf-context", "ubf_control", "--split-index", "0")
        for number, how in enumerate(("FAILS", "UNBORN", None)):
            done = self.attempt("work", "t-0", RUN + "/split/t", number, how, extra=control)
        self.attempt("join", "t", ",".join(done["outcome"]["mapper_tasks"]), 0)
        self.assertEqual(self.stage.artifact("Gaps", "join/t/0", "all_found"), ["right", "right"])

    def test_what_catch_made_of_attempts_that_died(self):
        for number, how in enumerate(("DIES", "UNBORN", None)):
            caught = self.attempt("start", "t", PARAMETERS, number, how, retries=0)
        self.assertTrue(caught["outcome"]["caught"])
        self.assertIn("2 attempts", str(self.next("t", "problem")))

    def test_an_id_that_follows_a_full_one_begins_with_retry_count_1(self):
        for number, how in ((1, "FAILS"), (2, "UNBORN"), (3, None)):
            self.attempt("start", "t-a7", PARAMETERS, number, how)
        self.assertEqual(self.next("t-a7"), "right")

    def test_marks_of_attempts_that_did_begin_stay_as_they_are(self):
        self.attempt("start", "t", PARAMETERS, 0, "FAILS")
        mark = os.path.join(self.stage.root, "Gaps", RUN, "start", "t", "0.attempt.json")
        with open(mark) as file:
            before = file.read()
        self.attempt("start", "t", PARAMETERS, 2)
        with open(mark) as file:
            self.assertEqual(file.read(), before)


class GapsWarm(Gaps):
    mode = "warm"


if __name__ == "__main__":
    unittest.main()
