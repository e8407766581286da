"""Init, clone, hooks, checkpoints of an earlier life: what a request asks for besides a step."""
import json
import os
import subprocess
import tempfile
import unittest

from .orchestra import EXIT_HOOKS, FLOWS, RUN, SWITCH, Performance, Stage, needs
from .test_equal import CHECKPOINTS


class Staged(unittest.TestCase):
    mode = "cold"

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dalsegno")
        self.addCleanup(folder.cleanup)
        self.stage = Stage(folder.name, self.mode)
        self.addCleanup(self.stage.close)

    def ask(self, code):
        """What Metaflow's client says, in a process of its own."""
        done = subprocess.run(
            [self.stage.python, "-c", "from metaflow import Run, Task, namespace; namespace(None); print(%s)" % code],
            env=self.stage.environment, cwd=self.stage.cwd, stdout=subprocess.PIPE, universal_newlines=True, check=True,
        )
        return done.stdout.strip()

    @needs(SWITCH)
    def test_tasks_are_cloned_with_the_parameters_of_the_new_run(self):
        Performance(self.stage, "shapes.py", ["--rounds", "2"]).play()
        done = os.path.join(self.stage.out, "run-b.cloned")
        tasks = ["start/t-", "left/t-", "right/t-", "outer/t-", "inner/t-0", "inner/t-1", "loop/t-"]
        clone = {"origin_run_id": RUN, "run_id": "run-b", "tasks": tasks, "params": ["rounds"], "done": done}
        more = {"clone": clone, "run_id": "run-b", "init": self.stage.init("--rounds", "4", run="run-b")}
        first = self.stage.step("shapes.py", "loop", "t-i1", "run-b/loop/t-", extra=["--clone-run-id", RUN], **more)
        self.assertEqual((first["code"], first["outcome"]["next"]), (0, ["loop"]), first["err"])
        self.assertTrue(os.path.exists(done))
        again = self.stage.step("shapes.py", "letter", "t-0-0", "run-b/inner/t-0", split=0, **more)
        self.assertEqual((again["code"], again["outcome"]["next"]), (0, ["inner_join"]), again["err"])
        self.assertEqual(self.stage.artifact("Shapes", "loop/t-i1/0", "rounds", "run-b"), 4)
        self.assertEqual(self.stage.artifact("Shapes", "outer/t-/0", "rounds", "run-b"), 4)
        self.assertEqual(self.stage.artifact("Shapes", "outer/t-/0", "rounds"), 2)
        origin = self.ask("[Task('Shapes/run-b/start/t-').metadata_dict[n] for n in ('origin-run-id', 'origin-task-id')]")
        self.assertEqual(origin, "['run-a', 't-']")

    @needs(SWITCH)
    def test_a_clone_of_what_is_not_there_is_a_configuration_error(self):
        clone = {"origin_run_id": "none", "run_id": "run-b", "tasks": ["start/t-"], "params": [], "done": self.stage.out + "/done"}
        result = self.stage.step(
            "shapes.py", "left", "t-", "run-b/start/t-", clone=clone, run_id="run-b", init=self.stage.init(run="run-b")
        )
        self.assertNotEqual(result["code"], 0)
        self.assertEqual((result["outcome"]["ok"], result["outcome"]["stage"]), (False, "clone"))
        self.assertIn("none/start/t-", result["outcome"]["error"])
        self.assertFalse(os.path.exists(self.stage.out + "/done"))

    @needs(EXIT_HOOKS)
    def test_hooks_are_called_with_the_run(self):
        config = {"limits": {"limit": 67, "deep": {"name": "blue"}}, "texts": "one\ntwo\n"}
        self.stage.environment["METAFLOW_FLOW_CONFIG_VALUE"] = json.dumps(config)
        triggers = [{"type": "event", "name": "arrived", "id": "e-1", "timestamp": 1795342446}]
        performance = Performance(self.stage, "declared.py", triggers=triggers).play()
        flow = os.path.join(FLOWS, "declared.py")
        for name, said in ((performance.dump["exit_hooks"]["on_success"][0], "hook: the run is done 0.5"), ("mourn", "it failed")):
            result = self.stage.run("hook." + name, {"flow": flow, "hook": {"function": name, "pathspec": "Declared/" + RUN}})
            self.assertEqual((result["code"], result["outcome"]["ok"], result["outcome"]["stage"]), (0, True, "hook"), result["err"])
            self.assertIn(said, result["out"])
        missing = self.stage.run("hook.x", {"flow": flow, "hook": {"function": "nobody", "pathspec": "Declared/" + RUN}})
        self.assertEqual((missing["code"], missing["outcome"]["ok"]), (1, False))

    @needs(SWITCH)
    def test_events_that_started_a_run_are_found_by_the_client(self):
        triggers = [{"type": "event", "name": "arrived", "id": "e-1", "timestamp": 1795342446}]
        Performance(self.stage, "shapes.py", triggers=triggers).play()
        self.assertEqual(self.ask("[(one.name, one.id) for one in Run('Shapes/run-a').trigger.events]"), "[('arrived', 'e-1')]")

    @unittest.skipUnless(CHECKPOINTS, "metaflow-checkpoint is not installed")
    def test_a_reborn_task_goes_on_from_its_checkpoint(self):
        start = ("checkpointed.py", "start")
        inputs = "run-a/_parameters/params"
        for attempt in range(2):
            self.stage.step(*start, "t-", inputs, attempt, user_retries=3, init=self.stage.init())
        reborn = self.stage.step(*start, "t-a2", inputs, user_retries=3, checkpoints={"from": "t-"})
        self.assertEqual(reborn["code"], 0, reborn["err"])
        self.assertEqual(self.stage.artifact("Checkpointed", "start/t-a2/0", "began_at"), 2)

    @unittest.skipUnless(CHECKPOINTS, "metaflow-checkpoint is not installed")
    def test_a_new_run_goes_on_from_the_newest_life_in_the_run_it_was_made_from(self):
        start = ("checkpointed.py", "start")
        inputs = "run-a/_parameters/params"
        self.stage.step(*start, "t-a3", inputs, 0, user_retries=0, init=self.stage.init())
        reborn = self.stage.step(*start, "t-a5", inputs, user_retries=0, checkpoints={"from": "run-a/t*"})
        self.assertEqual(self.stage.artifact("Checkpointed", "start/t-a5/0", "began_at"), 1, reborn["err"])

    @unittest.skipUnless(CHECKPOINTS, "metaflow-checkpoint is not installed")
    def test_what_succeeded_and_is_repeated_begins_anew(self):
        start = ("checkpointed.py", "start")
        inputs = "run-a/_parameters/params"
        for attempt in range(3):
            done = self.stage.step(*start, "t", inputs, attempt, user_retries=3, init=self.stage.init())
        self.assertEqual(done["code"], 0, done["err"])
        self.stage.step(*start, "t-a3", inputs, 0, user_retries=0, checkpoints={"from": "t"})
        self.assertEqual(self.stage.artifact("Checkpointed", "start/t-a3/0", "began_at"), 0)

    def test_logs_can_be_saved_by_metaflow(self):
        more = {"logs": {"save": True}, "init": self.stage.init("--how", "signal")}
        result = self.stage.step("exits.py", "start", "t-", "run-a/_parameters/params", **more)
        self.assertEqual(result["code"], -15)
        self.assertEqual(self.ask("Task('Exits/run-a/start/t-').stdout"), "about to end by signal")

    def test_a_thousand_lines_of_a_log_keep_their_order(self):
        path = os.path.join(self.stage.out, "log")
        text = "".join("line %d\n" % (number * 7919 % 1000) for number in range(1000))
        with open(path, "w") as file:
            file.write(text)
        os.utime(path, ns=(1795342446666667554,) * 2)
        runtime = os.path.join(os.path.dirname(FLOWS), "..", "..", "runtime")
        code = (
            "import sys; sys.path.insert(0, %r); from dalsegno_runtime.logs import structured; "
            "from metaflow.mflog.mflog import merge_logs; "
            "lines = list(merge_logs([structured(%r)])); assert len({line.utc_tstamp_str for line in lines}) == 1000; "
            "[print(line.msg.decode()) for line in lines]" % (runtime, path)
        )
        done = subprocess.run(
            [self.stage.python, "-c", code], env=self.stage.environment, stdout=subprocess.PIPE, universal_newlines=True, check=True
        )
        self.assertEqual(done.stdout, text)

    def test_saved_logs_keep_their_order(self):
        more = {"logs": {"save": True}, "init": self.stage.init("--how", "error")}
        result = self.stage.step("exits.py", "start", "t-", "run-a/_parameters/params", **more)
        self.assertEqual(self.ask("Task('Exits/run-a/start/t-').stderr"), result["err"].strip())

    def test_a_request_that_cannot_be_read(self):
        path = os.path.join(self.stage.out, "x.request.json")
        with open(path, "w") as file:
            file.write("{")
        argv = [self.stage.python, "-u", "-S", "-E", os.path.join(os.path.dirname(FLOWS), "..", "..", "runtime", "run.py"), path]
        done = subprocess.run(argv, env=self.stage.environment, stderr=subprocess.PIPE, universal_newlines=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("cannot be read", done.stderr)


class StagedWarm(Staged):
    mode = "warm"


if __name__ == "__main__":
    unittest.main()
