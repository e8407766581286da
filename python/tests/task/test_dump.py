"""`flow.py dalsegno-task dump`: what a scheduler learns of a flow."""
import hashlib
import json
import os
import tempfile
import unittest

from .orchestra import EXIT_HOOKS, FLOWS, SWITCH, Stage, needs


class Dump(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dalsegno")
        self.addCleanup(folder.cleanup)
        self.stage = Stage(folder.name, "cold")

    def dump(self, flow, *top, **options):
        done, dump = self.stage.dump(flow, *top, **options)
        self.assertIsNotNone(dump, done.stderr)
        return done, dump

    @needs(EXIT_HOOKS)
    def test_a_flow_that_declares_everything(self):
        done, dump = self.dump("declared.py", "--branch", "try")
        self.assertEqual(done.stdout, '{"a": "line of JSON"}\n')
        self.assertEqual((dump["version"], dump["flow"], dump["start"], dump["end"]), (1, "Declared", "start", "end"))
        self.assertEqual((dump["project"]["project_name"], dump["project"]["branch_name"]), ("declared", "test.try"))
        by_name = {one["name"]: one for one in dump["decorators"]}
        self.assertEqual(by_name["schedule"]["schedule"], "0 * * * ? *")
        self.assertEqual(by_name["trigger"]["triggers"][0]["name"], "arrived")
        self.assertEqual(dump["exit_hooks"], {"on_success": ["cheer"], "on_error": ["mourn"]})
        parameters = {one["var"]: one for one in dump["parameters"]}
        self.assertEqual((parameters["alpha"]["type"], parameters["alpha"]["default"]), ("float", 0.5))
        self.assertEqual((parameters["tag_name"]["name"], parameters["tag_name"]["default"]), ("tag-name", "Declared-default"))
        self.assertEqual((parameters["names"]["type"], parameters["names"]["default"]), ("JSON", {"a": [1]}))
        self.assertEqual(parameters["many"]["separator"], ",")
        self.assertEqual((parameters["text"]["type"], parameters["text"]["default"]), ("FilePath", "declared.txt"))
        self.assertEqual(dump["configs"], {"limits": {"limit": 67, "deep": {"name": "blue"}}, "texts": "one\ntwo\n"})
        start = dump["steps"]["start"]
        self.assertEqual((start["next"], start["user_code_retries"], start["error_retries"]), (["end"], 1, 0))
        timeout = next(one for one in start["decorators"] if one["name"] == "timeout")
        self.assertEqual(timeout["attributes"]["seconds"], 67)

    @needs(EXIT_HOOKS)
    def test_configs_of_a_dump_can_be_given_back(self):
        _, first = self.dump("declared.py")
        elsewhere = {"METAFLOW_FLOW_CONFIG_VALUE": json.dumps(first["configs"])}
        _, second = self.dump("declared.py", environment=elsewhere)
        self.assertEqual(first["configs"], second["configs"])

    @needs(EXIT_HOOKS)
    def test_files_of_configs_are_told_with_what_was_in_them(self):
        def digest(name):
            with open(os.path.join(FLOWS, name), "rb") as file:
                return hashlib.sha256(file.read()).hexdigest()

        _, dump = self.dump("declared.py")
        self.assertEqual(dump["config_files"], {
            os.path.join(FLOWS, name): digest(name) for name in ("declared.json", "declared.txt")
        })
        elsewhere = {"METAFLOW_FLOW_CONFIG_VALUE": json.dumps({"limits": {"limit": 1, "deep": {"name": "red"}}})}
        _, dump = self.dump("declared.py", environment=elsewhere)
        self.assertEqual(list(dump["config_files"]), [os.path.join(FLOWS, "declared.txt")])

    @needs(SWITCH)
    def test_graphs(self):
        _, dump = self.dump("shapes.py")
        loop = dump["steps"]["loop"]
        self.assertEqual((loop["type"], loop["condition"]), ("split-switch", "again"))
        self.assertEqual(loop["switch_cases"], {"yes": "loop", "no": "right_end"})
        self.assertEqual(loop["next"], ["loop", "right_end"])
        self.assertEqual((dump["steps"]["outer"]["foreach_artifact"], dump["steps"]["outer"]["matching_join"]), ("groups", "outer_join"))
        _, gang = self.dump("gang.py")
        self.assertTrue(gang["steps"]["work"]["parallel_step"])

    @needs(SWITCH)
    def test_with_adds_decorators(self):
        _, dump = self.dump("shapes.py", "--with", "retry:times=2")
        self.assertEqual(dump["steps"]["start"]["user_code_retries"], 2)

    def test_what_is_wrong_is_metaflows_message(self):
        done, dump = self.stage.dump("placed.py")
        self.assertIsNone(dump)
        self.assertIn("--environment=", done.stderr)
        _, dump = self.dump("placed.py", environment={"DALSEGNO_IGNORED_DECORATORS": "batch,kubernetes,conda,pypi"})
        self.assertEqual(dump["steps"]["start"]["decorators"][0]["attributes"], {"cpu": 2, "image": "x"})

    def test_a_flow_elsewhere(self):
        self.assertTrue(os.path.isdir(FLOWS))
        done, dump = self.stage.dump("broken_import.py")
        self.assertIsNone(dump)
        self.assertIn("no_such_module_anywhere", done.stderr)


if __name__ == "__main__":
    unittest.main()
