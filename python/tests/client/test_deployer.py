"""Metaflow's Deployer API: `Deployer("flow.py").dalsegno()` and what it gives back."""

import os
import unittest
from unittest import mock

from support import ClientTest, problem

from metaflow import Deployer
from metaflow.exception import MetaflowException
from metaflow.runner.deployer import DeployedFlow


class DeployerTest(ClientTest):
    def setUp(self):
        super().setUp()
        environment = mock.patch.dict(os.environ, self.env, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    def create(self, file="demo.py", options=None, **arguments):
        deployer = Deployer(
            str(self.folder / file), pylint=False, show_output=False, cwd=str(self.folder), **(options or {})
        )
        deployed = deployer.dalsegno()
        self.addCleanup(deployed.cleanup)
        return deployed.create(**arguments)


class Deployed(DeployerTest):
    def test_a_flow_is_deployed_and_named_as_the_daemon_names_it(self):
        flow = self.create("report.py", {"branch": "b1"}, tags=["team:a", "x"])

        self.assertEqual((flow.name, flow.flow_name), ("sales.test.b1.ReportFlow", "ReportFlow"))
        self.assertEqual(flow.metadata, "local@" + str(self.folder))
        self.assertEqual(self.daemon.body("/metaflow/deployments")["tags"], ["team:a", "x"])

    def test_flows_with_whatever_parameters_are_deployed_by_one_process(self):
        text = (self.folder / "demo.py").read_text()
        text = text.replace("DemoFlow", "ListFlow").replace("type=str, multiple=True", "multiple=True")
        self.write("lists.py", text)

        names = [self.create(file).name for file in ("lists.py", "demo.py", "batched.py")]

        self.assertEqual(names, ["ListFlow", "DemoFlow", "BatchFlow"])

    def test_only_json_deploys_nothing_and_keeps_what_would_be_sent(self):
        flow = self.create(only_json=True)

        self.assertEqual(flow.request["class"], "DemoFlow")
        self.assertEqual(self.daemon.asked, [])

    def test_a_refused_deployment_raises_what_the_daemon_said(self):
        self.daemon.refusals["/deployments"] = (422, problem(422, "The flow is not valid", "a cycle of flows"))

        with self.assertRaisesRegex(RuntimeError, "The flow is not valid: a cycle of flows"):
            self.create()

    def test_the_daemon_may_be_named_in_the_deployers_own_environment_or_argument(self):
        env = {"DALSEGNO_URL": "http://127.0.0.1:9"}
        deployer = Deployer(str(self.folder / "demo.py"), pylint=False, show_output=False, env=env)
        with deployer.dalsegno(server=self.daemon.url) as deployed:
            deployed.create().trigger(max_rows=1)
            deployed.from_deployment("DemoFlow").trigger(max_rows=2)

        self.assertEqual(self.daemon.paths().count("POST /flows/DemoFlow/runs"), 2)

    def test_a_flow_is_removed_once(self):
        flow = self.create()

        self.assertTrue(flow.delete())
        self.assertFalse(flow.delete())

    def test_flows_are_listed_and_found_by_name_without_their_files(self):
        self.create()
        self.create("report.py", {"branch": "b1"})
        (self.folder / "report.py").unlink()
        self.daemon.flows["nightly"] = {"name": "nightly", "removed": False}

        every = {it.name for it in DeployedFlow.list_deployed_flows(impl="dalsegno")}
        reports = [it.name for it in DeployedFlow.list_dalsegno("ReportFlow")]
        found = DeployedFlow.from_deployment("sales.test.b1.ReportFlow", impl="dalsegno")
        run = found.trigger()

        self.assertEqual(every, {"DemoFlow", "sales.test.b1.ReportFlow"})
        self.assertEqual(reports, ["sales.test.b1.ReportFlow"])
        self.assertEqual(found.flow_name, "ReportFlow")
        self.assertEqual(run.pathspec, "ReportFlow/dalsegno-1-abc")

    def test_a_name_that_nobody_deployed_is_an_error(self):
        with self.assertRaisesRegex(MetaflowException, "there is no flow `Nothing`"):
            DeployedFlow.from_dalsegno("Nothing")

    def test_flows_of_other_kinds_and_removed_ones_are_not_given_out(self):
        self.daemon.flows["nightly"] = {"name": "nightly", "removed": False, "metaflow": None}
        self.daemon.flows["Gone"] = {"name": "Gone", "removed": True, "metaflow": {"class": "Gone"}}

        with self.assertRaisesRegex(MetaflowException, "none of Metaflow's"):
            DeployedFlow.from_dalsegno("nightly")
        with self.assertRaisesRegex(MetaflowException, "has been removed"):
            DeployedFlow.from_dalsegno("Gone")


class Runs(DeployerTest):
    def setUp(self):
        super().setUp()
        self.deployed = self.create()

    def test_a_run_is_started_with_values_as_python_has_them(self):
        run = self.deployed.trigger(max_rows=7, shape={"b": 2}, word=("y", "z"), table="table.csv")

        self.assertEqual(
            self.daemon.body("/flows/DemoFlow/runs")["params"],
            {"max-rows": 7, "shape": {"b": 2}, "word": ["y", "z"], "table": os.path.abspath("table.csv")},
        )
        self.assertEqual((run.name, run.pathspec), ("DemoFlow", "DemoFlow/dalsegno-1-abc"))
        self.assertIsNone(run.run, "there is no run in Metaflow before its first task has begun")

    def test_the_status_follows_the_run(self):
        run = self.deployed.trigger(max_rows=1)
        seen = []
        for state in ("queued", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"):
            self.daemon.runs[0]["state"] = state
            seen.append((run.status, run.is_running))

        self.assertEqual(seen, [
            ("PENDING", True), ("RUNNING", True), ("RUNNING", True), ("SUCCEEDED", False), ("FAILED", False),
            ("ABORTED", False), ("TIMED_OUT", False),
        ])

    def test_waiting_ends_with_the_run_or_when_time_is_up(self):
        run = self.deployed.trigger(max_rows=1)

        with self.assertRaisesRegex(TimeoutError, "dalsegno-1-abc did not end within 0 seconds"):
            run.wait_for_completion(timeout=0)
        run.wait_for_completion()

        self.assertEqual(run.status, "SUCCEEDED")

    def test_a_daemon_that_is_away_is_not_the_end_of_a_run(self):
        run = self.deployed.trigger(max_rows=1)
        self.daemon.stop()

        self.assertEqual((run.status, run.is_running), (None, True))
        with self.assertRaises(TimeoutError):
            run.wait_for_completion(check_interval=0, timeout=0)
        self.daemon = type(self.daemon)()
        self.addCleanup(self.daemon.stop)

    def test_a_resume_makes_a_new_run_and_going_on_in_place_does_not(self):
        run = self.deployed.trigger(max_rows=1)
        self.daemon.end("1", "failed")

        new = self.deployed.resume(origin_run_id=run.run_id, step_to_rerun="end", max_rows=2)
        self.assertEqual(self.daemon.body("/runs/1/resume"), {
            "from": "end", "by": "ada", "params": {"max-rows": 2},
        })
        self.assertEqual(new.run_id, "dalsegno-2-abc")

        self.assertTrue(run.resume())
        self.assertEqual(self.daemon.body("/runs/1/resume"), {"by": "ada"})

    def test_a_run_that_is_just_about_to_end_is_waited_for_by_a_resume(self):
        run = self.deployed.trigger(max_rows=1)

        self.deployed.resume(origin_run_id=run.run_id)

        asked = self.daemon.paths()
        self.assertLess(asked.index("GET /runs/1/wait"), asked.index("POST /runs/1/resume"))
        self.assertEqual(self.daemon.body("/runs/1/resume")["from"], "end", "it succeeded meanwhile")

    def test_a_resume_takes_the_newest_run_unless_told(self):
        with self.assertRaisesRegex(MetaflowException, "has no runs yet"):
            self.deployed.resume()
        self.deployed.trigger(max_rows=1)
        self.deployed.trigger(max_rows=2)

        self.deployed.resume()

        self.assertIn("POST /runs/2/resume", self.daemon.paths())

    def test_a_run_is_stopped_unless_it_has_ended(self):
        run = self.deployed.trigger(max_rows=1)

        self.assertTrue(run.terminate(reason="wrong data"))
        self.assertEqual(self.daemon.body("/runs/1/cancel"), {"by": "ada", "reason": "wrong data"})
        self.daemon.end("1", "cancelled")
        self.assertFalse(run.terminate())

    def test_runs_are_found_again_by_state_and_by_id(self):
        for rows in range(3):
            self.deployed.trigger(max_rows=rows)
        self.daemon.end("2", "failed")

        self.assertEqual([it.run_id for it in self.deployed.list_runs()], [
            "dalsegno-3-abc", "dalsegno-2-abc", "dalsegno-1-abc",
        ])
        self.assertEqual([it.run_id for it in self.deployed.list_runs(["FAILED"])], ["dalsegno-2-abc"])
        with self.assertRaisesRegex(ValueError, "BROKEN: no such state"):
            self.deployed.list_runs(["BROKEN"])
        found = DeployedFlow.get_triggered_run("DemoFlow", "dalsegno-2-abc", impl="dalsegno")
        self.assertEqual(found.status, "FAILED")
        self.assertIn("step train failed: boom", found.why())


if __name__ == "__main__":
    unittest.main()
