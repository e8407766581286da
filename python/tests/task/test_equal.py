"""Cold and warm tasks give the same: exit codes, outcomes, artifacts, logs."""
import json
import os
import re
import tempfile
import unittest

from .orchestra import EXIT_HOOKS, FLOWS, SWITCH, Performance, Stage, needs

try:
    import metaflow_extensions.obcheckpoint  # noqa: F401

    CHECKPOINTS = True
except ImportError:
    CHECKPOINTS = False


class BothWays(unittest.TestCase):
    maxDiff = None
    extra = {}

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dalsegno")
        self.addCleanup(folder.cleanup)
        self.cold = Stage(folder.name, "cold", self.extra)
        self.warm = Stage(folder.name, "warm", self.extra)
        self.addCleanup(self.warm.close)

    def play(self, flow, logs=("out", "err"), **options):
        """Runs the flow both ways, compares all, gives the warm one."""
        cold = Performance(self.cold, flow, **options).play()
        warm = Performance(self.warm, flow, **options).play()
        self.assertEqual(list(cold.attempts), list(warm.attempts))
        for name, one in cold.attempts.items():
            with self.subTest(attempt=name):
                self.equal(one, warm.attempts[name], logs)
        name = cold.dump["flow"]
        self.assertEqual(*(
            {task: {artifact: plain(content) for artifact, content in one.items()} for task, one in stage.contents(name).items()}
            for stage in (self.cold, self.warm)
        ))
        self.assertNotIn("anew", self.warm.server.said())
        return warm

    def equal(self, cold, warm, logs=("out", "err")):
        for key in ("code", "outcome"):
            self.assertEqual(cold[key], warm[key], key + cold["err"] + warm["err"])
        for key in logs:
            self.assertEqual(plain(cold[key]), plain(warm[key]))


def plain(text):
    """A text without addresses, process ids and times."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    return re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+", "<time>", text)


class WholeFlows(BothWays):
    @needs(SWITCH)
    def test_every_form_of_graph(self):
        warm = self.play("shapes.py")
        self.assertIn("result ('ABC', 3)", warm.attempts["end/t-/0"]["out"])
        outer = warm.attempts["outer/t-/0"]["outcome"]
        self.assertEqual((outer["foreach"], outer["num_splits"], outer["labels"]), ("groups", 2, ["ab", "c"]))
        self.assertEqual(warm.attempts["loop/t-i1/0"]["outcome"]["next"], ["loop"])
        self.assertEqual(warm.attempts["end/t-/0"]["outcome"]["next"], [])

    def test_retries_catches_and_timeouts(self):
        warm = self.play("trouble.py", environments={"start": {"COLOUR": "red"}})
        self.assertEqual(warm.attempts["start/t-/0"]["outcome"]["error"], "ValueError: boom")
        self.assertIn("attempt 1 red", warm.attempts["start/t-/1"]["out"])
        caught = warm.attempts["caught/t-/0"]["outcome"]
        self.assertEqual((caught["ok"], caught["caught"], caught["next"]), (True, True, ["slow"]))
        self.assertEqual([warm.attempts["killed/t-/%d" % n]["code"] for n in range(3)], [-9, -9, 0])
        self.assertIsNone(warm.attempts["killed/t-/0"]["outcome"])
        self.assertEqual(len(self.warm.artifact("Trouble", "end/t-/0", "seen")), 3)

    def test_names_that_are_no_unicode(self):
        warm = self.play("names.py")
        self.assertEqual(warm.attempts["start/t-/0"]["outcome"]["labels"], ["caf?.csv", "None"])
        self.assertIn(r"[b'caf\xe9.csv', b'']", warm.attempts["end/t-/0"]["out"])

    def test_a_gang(self):
        warm = self.play("gang.py")
        self.assertEqual(warm.attempts["start/t-/0"]["outcome"]["num_parallel"], 3)
        self.assertEqual(len(warm.attempts["work/t-0/0"]["outcome"]["mapper_tasks"]), 3)
        self.assertIn("[(0, 3), (1, 3), (2, 3)]", warm.attempts["end/t-/0"]["out"])

    @needs(EXIT_HOOKS)
    def test_everything_that_is_declared(self):
        triggers = [{"type": "event", "name": "arrived", "id": "e-1", "timestamp": 1795342446}]
        config = {"limits": {"limit": 67, "deep": {"name": "blue"}}, "texts": "one\ntwo\n"}
        for stage in (self.cold, self.warm):
            stage.environment["METAFLOW_FLOW_CONFIG_VALUE"] = json.dumps(config)
        warm = self.play("declared.py", triggers=triggers, parameters=["--alpha", "0.25", "--tag-name", "x", "--text", os.path.join(FLOWS, "declared.txt")])
        seen = self.warm.artifact("Declared", "end/t-/0", "seen")
        self.assertEqual(
            seen[0:2] + seen[5:],
            [0.25, "x", "blue", ["one", "two"], "open", "declared.user.tester.Declared", ["arrived"]],
        )
        self.assertEqual(warm.attempts["start/t-/0"]["out"].count("line of JSON"), 2)

    @unittest.skipUnless(CHECKPOINTS, "metaflow-checkpoint is not installed")
    def test_checkpoints_of_earlier_attempts(self):
        # Its card is rendered by a thread that may complain, whichever way the task was started.
        warm = self.play("checkpointed.py", logs=("out",))
        self.assertIn("began at 2", warm.attempts["end/t-/0"]["out"])


class Surroundings(BothWays):
    def test_a_task_cannot_tell_how_it_was_started(self):
        cold = Performance(self.cold, "surroundings.py").play()
        warm = Performance(self.warm, "surroundings.py").play()
        seen = [stage.artifact("Surroundings", "start/t-/0", "process") for stage in (self.cold, self.warm)]
        for key in seen[0]:
            self.assertEqual(seen[0][key], seen[1][key], key)
        self.assertTrue(seen[1]["leader"])
        self.assertTrue(seen[1]["one client"])
        for name, one in cold.attempts.items():
            self.assertEqual(one["code"], 0, one["err"])
            self.equal(one, warm.attempts[name])
        end = warm.attempts["end/t-/0"]
        for text in ("a thread went on", "atexit ran", "[buffered by the user]", "no newline"):
            self.assertIn(text, end["out"])
        for stage in (self.cold, self.warm):
            with open(os.path.join(stage.cwd, "unclosed.run-a.txt")) as file:
                self.assertEqual(file.read(), "written without being closed")
        for name in ("spawned", "forked", "executor", "shared", "carried", "said"):
            values = [stage.artifact("Surroundings", "children/t-/0", name) for stage in (self.cold, self.warm)]
            self.assertEqual(*values)


class Ends(BothWays):
    def test_every_way_to_end_a_step(self):
        expected = {
            "well": (0, True, ["end"], None),
            "exit_none": (0, False, None, "SystemExit"),
            "exit_0": (0, False, None, "SystemExit: 0"),
            "exit_3": (3, False, None, "SystemExit: 3"),
            "exit_300": (300 % 256, False, None, "SystemExit: 300"),
            "exit_202": (202, False, None, "SystemExit: 202"),
            "exit_text": (1, False, None, "SystemExit: that is all"),
            "os_exit": (7, None, None, None),
            "return": (0, True, None, None),
            "error": (1, False, None, "Unfit: not today"),
            "odd_error": (1, False, None, "Unfit: caf?.csv"),
            "clearing_up": (0, True, ["end"], None),
            # Its child came to the end of the step; the task did not.
            "fork": (7, None, None, None),
            "interrupt": (1, False, None, "KeyboardInterrupt"),
            "signal": (-15, None, None, None),
            "segfault": (-11, None, None, None),
            "unpicklable": (1, False, None, None),
            "thread_error": (0, True, ["end"], None),
        }
        for how, (code, ok, following, error) in expected.items():
            with self.subTest(how=how):
                results = []
                for stage in (self.cold, self.warm):
                    results.append(stage.step(
                        "exits.py", "start", "t-" + how, "r-%s/_parameters/params" % how, run_id="r-" + how,
                        init=stage.init("--how", how, run="r-" + how),
                    ))
                self.equal(*results)
                outcome = results[1]["outcome"]
                self.assertEqual(results[1]["code"], code, results[1]["err"])
                self.assertNotIn("dalsegno_runtime", results[1]["err"])
                if ok is None:
                    self.assertIsNone(outcome)
                else:
                    self.assertEqual((outcome["ok"], outcome["next"]), (ok, following))
                    if error:
                        self.assertEqual(outcome["error"].split(" (")[0], error)


class Configuration(BothWays):
    def first(self, flow, *parameters, environment=None, step="start"):
        results = [
            stage.step(flow, step, "t-", "run-a/_parameters/params", init=stage.init(*parameters), environment=environment)
            for stage in (self.cold, self.warm)
        ]
        self.equal(*results)
        return results[1]

    def test_a_wrong_parameter(self):
        result = self.first("shapes.py", "--rounds", "many")
        self.assertEqual((result["code"], result["outcome"]["stage"], result["outcome"]["ok"]), (2, "init", False))
        self.assertIn("many is not a valid integer", result["outcome"]["error"])
        self.assertNotIn("Usage", result["outcome"]["error"])

    def test_an_unknown_parameter(self):
        self.assertIn("no such option: --colour", self.first("shapes.py", "--colour", "red")["outcome"]["error"])

    def test_a_file_that_does_not_load(self):
        result = self.first("broken_import.py")
        self.assertEqual(result["outcome"]["error"], "ModuleNotFoundError: No module named 'no_such_module_anywhere'")
        self.assertEqual(result["code"], 1)

    def test_a_file_that_does_not_compile(self):
        result = self.first("broken_syntax.py")
        self.assertTrue(result["outcome"]["error"].startswith("SyntaxError: "), result["outcome"]["error"])

    def test_a_file_that_is_not_there(self):
        result = self.first("not_there.py")
        self.assertIn("not_there.py", result["err"])
        self.assertEqual(result["code"], 2)

    def test_places_to_run_that_are_not_there(self):
        error = self.first("placed.py")["outcome"]["error"]
        self.assertIn("ignore_environments", error)


class Placed(BothWays):
    extra = {"DALSEGNO_IGNORED_DECORATORS": "batch,kubernetes,conda,pypi"}

    def test_decorators_for_other_places_can_be_left_out(self):
        warm = self.play("placed.py")
        self.assertEqual(warm.attempts["end/t-/0"]["code"], 0)


if __name__ == "__main__":
    unittest.main()
