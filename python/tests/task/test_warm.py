"""The fork server itself: its protocol, and when it gives a task a fresh interpreter instead of a fork."""
import json
import os
import tempfile
import unittest

from .orchestra import Performance, Stage
from .warm_client import wait


class Warm(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="dalsegno")
        self.addCleanup(folder.cleanup)
        self.stage = Stage(folder.name, "warm")
        self.addCleanup(self.stage.close)
        self.server = self.stage.server

    def order(self, **more):
        out = os.path.join(self.stage.out, "x")
        argv = [self.stage.python, "-u", "-S", "-E", "run.py", out + ".request.json"]
        return {"argv": argv, "env": {}, "cwd": self.stage.cwd, "stdout": out + ".out", "stderr": out + ".err", "cgroup": None, **more}

    def test_a_task_that_is_not_let_go_does_nothing(self):
        connection, answer = self.server.connect(self.order())
        connection.close()
        self.assertEqual(wait(answer["pid"]), 125)
        self.assertEqual(os.listdir(self.stage.out), [])

    def test_a_folder_that_is_not_there(self):
        connection, answer = self.server.connect(self.order(cwd="/no/such/folder"))
        connection.sendall(b"g")
        connection.close()
        self.assertEqual(wait(answer["pid"]), 125)
        with open(os.path.join(self.stage.out, "x.err")) as file:
            self.assertIn("/no/such/folder: No such file or directory", file.read())

    def test_an_order_that_cannot_be_read(self):
        for order in (b"{\n", b"[]\n", json.dumps(self.order(env=None)).encode() + b"\n"):
            connection, answer = self.server.connect(order)
            connection.close()
            self.assertEqual(list(answer), ["error"])
        connection, answer = self.server.connect(self.order())
        connection.close()
        self.assertEqual(wait(answer["pid"]), 125)

    def test_the_task_leads_its_own_group_before_it_is_let_go(self):
        connection, answer = self.server.connect(self.order())
        self.assertEqual(os.getpgid(answer["pid"]), answer["pid"])
        self.assertEqual(os.getsid(answer["pid"]), os.getsid(0))
        connection.close()
        wait(answer["pid"])

    def test_it_joins_its_cgroup(self):
        procs = os.path.join(self.stage.folder, "cgroup.procs")
        with open(procs, "w"):
            pass
        connection, answer = self.server.connect(self.order(cgroup=procs, cwd="/no/such/folder"))
        connection.sendall(b"g")
        connection.close()
        wait(answer["pid"])
        with open(procs) as file:
            self.assertEqual(file.read(), "0")

    def test_the_server_ends_with_its_stdin(self):
        self.server.process.stdin.close()
        self.assertEqual(self.server.process.wait(30), 0)

    def test_a_module_with_the_name_of_a_loaded_one_is_the_users(self):
        Performance(self.stage, "shadowing/shadowing.py").play()
        self.assertEqual(self.stage.artifact("Shadowing", "start/t-/0", "whose"), "the user's own")
        self.assertIn("starts anew: queue.py lies beside the flow", self.server.said())

    def test_settings_that_are_read_at_start(self):
        for name, value in (("METAFLOW_DEFAULT_PACKAGE_SUFFIXES", ".py"), ("PYTHONHASHSEED", "3"), ("LC_ALL", "C.UTF-8")):
            result = self.stage.step(
                "exits.py", "start", "t-" + name, "run-a/_parameters/params", init=self.stage.init(), environment={name: value}
            )
            self.assertEqual(result["code"], 0, result["err"])
            self.assertIn("starts anew: %s differs" % name, self.server.said())

    def test_settings_that_are_read_later(self):
        for name in ("METAFLOW_PRODUCTION_TOKEN", "METAFLOW_OWNER", "COLOUR", "TZ", "METAFLOW_ARGO_EVENT_PAYLOAD_x"):
            result = self.stage.step(
                "exits.py", "start", "t-" + name, "run-a/_parameters/params", init=self.stage.init(), environment={name: "UTC"}
            )
            self.assertEqual(result["code"], 0, result["err"])
        self.assertEqual(self.server.said(), "")

    def test_metaflows_configuration_file(self):
        with open(os.path.join(self.stage.folder, "home", "config.json"), "w") as file:
            json.dump({"METAFLOW_DEFAULT_MONITOR": "nullSidecarMonitor"}, file)
        result = self.stage.step("exits.py", "start", "t-", "run-a/_parameters/params", init=self.stage.init())
        self.assertEqual(result["code"], 0, result["err"])
        self.assertIn("configuration changed", self.server.said())

    def test_a_changed_flow_file_is_read_again(self):
        flow = os.path.join(self.stage.folder, "changing.py")
        for word in ("before", "after it"):
            with open(flow, "w") as file:
                file.write(
                    "from metaflow import FlowSpec, step\nclass Changing(FlowSpec):\n  @step\n  def start(self):\n"
                    "    print('%s')\n    self.next(self.end)\n  @step\n  def end(self):\n    pass\nChanging()\n" % word
                )
            result = self.stage.step(flow, "start", "t-" + word[0], "run-a/_parameters/params", init=self.stage.init())
            self.assertEqual((result["code"], result["out"].split("\n")[0]), (0, word), result["err"])

    def test_installed_packages(self):
        added = os.path.join(self.stage.folder, "path", "new_module.py")
        os.makedirs(os.path.dirname(added))
        server = type(self.server)(tempfile.mkdtemp(dir=self.stage.folder), {
            **self.stage.environment, "PYTHONPATH": self.stage.environment["PYTHONPATH"] + os.pathsep + os.path.dirname(added),
        })
        self.addCleanup(server.close)
        pid = server.process.pid
        open(added, "w").close()
        for _ in range(2):  # the second task meets the server that started itself anew
            connection, answer = server.connect(self.order(cwd="/no/such/folder"))
            connection.sendall(b"g")
            connection.close()
            wait(answer["pid"])
        self.assertIsNone(server.process.poll())
        self.assertEqual(server.process.pid, pid)


if __name__ == "__main__":
    unittest.main()
