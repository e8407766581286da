"""`python flow.py dalsegno …` as a person types it, against a daemon that remembers what it was asked."""

import json
import os
import sys
import unittest

from support import ClientTest, problem, unpacked


class Create(ClientTest):
    def test_a_deployment_brings_the_flow_its_code_and_where_its_data_goes(self):
        _, err = self.ok(
            "report.py", "--branch", "b1", "--with", "retry:times=2", "dalsegno", "create", "--tag", "team:a"
        )

        sent = self.daemon.body("/metaflow/deployments")
        self.assertEqual(sent["class"], "ReportFlow")
        self.assertEqual(sent["file"], str(self.folder / "report.py"))
        self.assertEqual((sent["folder"], sent["entry"]), (str(self.folder), "report.py"))
        self.assertEqual((sent["branch"], sent["production"]), ("b1", False))
        self.assertEqual((sent["tags"], sent["with"], sent["user"]), (["team:a"], ["retry:times=2"], "ada"))
        self.assertEqual((sent["python"], sent["environment"]), (sys.executable, "local"))
        self.assertEqual(
            sent["storage"], {"datastore": "local", "root": str(self.folder / ".metaflow"), "metadata": "local"}
        )
        self.assertEqual(sent["dump"]["project"]["branch_name"], "test.b1")
        self.assertEqual(sorted(sent["dump"]["steps"]), ["end", "start"])
        self.assertEqual(unpacked(sent["package"])["report.py"], (self.folder / "report.py").read_text())
        self.assertIn("helper.py", unpacked(sent["package"]))
        self.assertNotIn("strategy", sent)
        self.assertIn("sales.test.b1.ReportFlow is deployed as version v1", err.replace("*", ""))
        self.assertIn("What starts it: every day at 00:00", err)
        self.assertIn("warning: line 3: a wish is not obeyed", err)

    def test_production_strategy_and_namespace_go_with_it(self):
        self.ok(
            "report.py", "--production", "dalsegno", "create", "--strategy", "sequential", "--namespace", "user:bob"
        )

        sent = self.daemon.body("/metaflow/deployments")
        self.assertEqual((sent["branch"], sent["production"]), (None, True))
        self.assertEqual((sent["strategy"], sent["namespace"]), ("sequential", "user:bob"))

    def test_the_package_holds_code_and_nothing_else_and_is_the_same_bytes_again(self):
        self.write("pkg/deep/module.py", "x = 1")
        self.write("data.csv", "1,2")
        self.write("settings.json", "{}")
        self.write(".hidden/secret.py", "")
        self.write("__pycache__/demo.py", "")
        self.write("venv/pyvenv.cfg", "")
        self.write("venv/lib/site.py", "")
        (self.folder / "pkg/round").symlink_to(self.folder)

        self.ok("demo.py", "dalsegno", "create")
        first = self.daemon.body("/metaflow/deployments")["package"]
        (self.folder / "helper.py").touch()
        self.ok("demo.py", "--package-suffixes", ".json", "dalsegno", "create")
        with_json = self.daemon.body("/metaflow/deployments")["package"]
        self.ok("demo.py", "dalsegno", "create")
        again = self.daemon.body("/metaflow/deployments")["package"]

        expected = {"demo.py", "report.py", "batched.py", "helper.py", "pkg/deep/module.py"}
        self.assertEqual(set(unpacked(first)), expected)
        self.assertEqual(set(unpacked(with_json)), expected | {"settings.json"})
        self.assertEqual(first, again)

    def test_promises_beside_the_flow_file_go_along_and_those_of_other_flows_do_not(self):
        self.write("demo.dalsegno.yaml", "owner: growth\n")
        self.write("report.dalsegno.yaml", "owner: growth\n")

        self.ok("demo.py", "dalsegno", "create")

        names = set(unpacked(self.daemon.body("/metaflow/deployments")["package"]))
        self.assertEqual({it for it in names if not it.endswith(".py")}, {"demo.dalsegno.yaml"})

    def test_too_much_code_is_refused_here_with_the_names_of_the_largest_files(self):
        (self.folder / "weights.bin").write_bytes(os.urandom(48 << 20))

        error = self.refused("demo.py", "--package-suffixes", ".bin", "dalsegno", "create")

        self.assertIn("too large to be deployed: 50.", error)
        self.assertIn("weights.bin: 50.3 MB", error)
        self.assertEqual(self.daemon.asked, [])

    def test_only_json_prints_what_would_be_sent_and_sends_nothing(self):
        out, _ = self.ok("demo.py", "dalsegno", "create", "--only-json")

        shown = json.loads(out)
        self.assertEqual(shown["class"], "DemoFlow")
        self.assertIn("demo.py", shown["package"]["files"])
        self.assertEqual(self.daemon.asked, [])

    def test_show_tells_it_to_people(self):
        out, _ = self.ok("report.py", "--branch", "b1", "dalsegno", "show")

        self.assertRegex(out, r"flow +sales.test.b1.ReportFlow\n")
        self.assertRegex(out, r"storage +local at ")
        self.assertIn("helper.py", out)
        self.assertEqual(self.daemon.asked, [])

    def test_a_flow_for_batch_is_deployed_and_run_with_a_local_datastore(self):
        self.ok("batched.py", "dalsegno", "create")
        self.ok("batched.py", "dalsegno", "trigger")
        self.ok("batched.py", "dalsegno", "status")

        decorators = self.daemon.body("/metaflow/deployments")["dump"]["steps"]["start"]["decorators"]
        self.assertEqual([(it["name"], it["attributes"]["cpu"]) for it in decorators], [("batch", 2)])

    def test_in_other_commands_batch_stays_what_it_is(self):
        error = self.refused("batched.py", "run", "--tag", "dalsegno", "--tag", "create")

        self.assertIn("requires --datastore=s3", error)

    def test_what_the_daemon_refuses_is_told_with_every_finding(self):
        finding = {"line": 7, "message": "the cron expression has no sixth day of week", "help": "use 0 to 7"}
        body = problem(422, "The flow is not valid", "1 error", errors=[finding])
        self.daemon.refusals["/deployments"] = (422, body)

        error = self.refused("demo.py", "dalsegno", "create")

        self.assertIn("The flow is not valid: 1 error", error)
        self.assertIn("line 7: the cron expression has no sixth day of week (use 0 to 7)", error)


class Trigger(ClientTest):
    def setUp(self):
        super().setUp()
        self.ok("demo.py", "dalsegno", "create")
        self.daemon.asked.clear()

    def test_a_run_gets_what_was_given_as_typed_values_and_no_defaults_of_this_file(self):
        self.write("table.csv", "1,2")

        _, err = self.ok(
            "demo.py", "dalsegno", "trigger", "--run-id-file", "run.txt",
            "--max-rows", "7", "--shape", '{"b": [2]}', "--word", "y", "--word", "z", "--table", "table.csv",
        )

        sent = self.daemon.body("/flows/DemoFlow/runs")
        table = json.loads(sent["params"].pop("table"))
        self.assertEqual(sent["params"], {"max-rows": 7, "shape": {"b": [2]}, "word": ["y", "z"]})
        self.assertEqual(sent["by"], "ada")
        self.assertIn("url", table, "the file's content is stored when the run is asked for")
        self.assertEqual((self.folder / "run.txt").read_text(), "dalsegno-1-abc")
        self.assertIn("dalsegno-1-abc", err)
        self.assertIn("%s/runs/1" % self.daemon.url, err)

    def test_wrong_and_missing_parameters_are_refused_before_anything_is_sent(self):
        self.assertIn("x is not a valid integer", self.refused("demo.py", "dalsegno", "trigger", "--max-rows", "x"))
        self.assertIn("not a valid JSON", self.refused(
            "demo.py", "dalsegno", "trigger", "--max-rows", "1", "--shape", "{"))
        self.assertIn("Missing option '--max-rows'", self.refused("demo.py", "dalsegno", "trigger"))
        self.assertIn("no such option: --beta", self.refused("demo.py", "dalsegno", "trigger", "--beta", "1"))
        self.assertEqual(self.daemon.asked, [])

    def test_a_run_that_was_held_back_is_an_error_that_says_why(self):
        held = {"started": False, "occurrence": "k", "reason": {"kind": "skipped", "text": "run 4 is unfinished"}}
        self.daemon.refusals["/runs"] = (200, held)

        error = self.refused("demo.py", "dalsegno", "trigger", "--max-rows", "1")

        self.assertIn("The run was not started", error)
        self.assertIn("run 4 is unfinished", error)

    def test_parameters_that_the_daemon_does_not_take_are_told_one_by_one(self):
        wrong = [{"name": "alpha", "message": "must be at most 1"}]
        self.daemon.refusals["/runs"] = (422, problem(422, "Bad parameters", "1 is wrong", errors=wrong))

        error = self.refused("demo.py", "dalsegno", "trigger", "--max-rows", "1", "--alpha", "2")

        self.assertIn("Bad parameters: 1 is wrong", error)
        self.assertIn("alpha: must be at most 1", error)


class Runs(ClientTest):
    def setUp(self):
        super().setUp()
        self.ok("demo.py", "dalsegno", "create")
        self.ok("demo.py", "dalsegno", "trigger", "--max-rows", "1")
        self.daemon.end("1", "failed")

    def test_a_resume_makes_a_run_of_the_newest_with_only_the_parameters_that_were_given(self):
        _, err = self.ok("demo.py", "dalsegno", "resume", "--alpha", "0.25")

        self.assertEqual(self.daemon.body("/runs/1/resume"), {"by": "ada", "params": {"alpha": 0.25}})
        self.assertIn("resumed from dalsegno-1-abc", err.replace("*", ""))
        self.assertIn("dalsegno-2-abc", err)

    def test_a_resume_names_its_origin_and_the_step_to_run_again(self):
        self.ok("demo.py", "dalsegno", "resume", "--origin-run-id", "dalsegno-1-abc", "--step-to-rerun", "end")

        self.assertEqual(self.daemon.body("/runs/1/resume"), {"by": "ada", "from": "end", "params": {}})

    def test_of_a_run_that_succeeded_the_last_step_is_done_again(self):
        self.daemon.end("1", "succeeded")

        self.ok("demo.py", "dalsegno", "resume")

        self.assertEqual(self.daemon.body("/runs/1/resume"), {"by": "ada", "from": "end", "params": {}})

    def test_in_place_the_same_run_goes_on_with_its_own_parameters(self):
        self.ok("demo.py", "dalsegno", "resume", "--in-place")
        error = self.refused("demo.py", "dalsegno", "resume", "--in-place", "--alpha", "1")

        self.assertEqual(self.daemon.body("/runs/1/resume"), {"by": "ada"})
        self.assertIn("keeps its parameters", error)
        self.assertIn("--alpha", error)

    def test_without_a_run_there_is_nothing_to_resume(self):
        self.ok("report.py", "dalsegno", "create")

        self.assertIn("has no runs yet", self.refused("report.py", "dalsegno", "resume"))
        error = self.refused("demo.py", "dalsegno", "resume", "--origin-run-id", "dalsegno-9-zzz")
        self.assertIn("there is no run dalsegno-9-zzz", error)

    def test_status_shows_the_flow_or_one_run_and_why(self):
        flow, _ = self.ok("demo.py", "dalsegno", "status")
        run, _ = self.ok("demo.py", "dalsegno", "status", "dalsegno-1-abc")

        self.assertIn("DemoFlow (version v1): on", flow)
        self.assertRegex(flow, r"dalsegno-1-abc  FAILED ")
        self.assertRegex(run, r"dalsegno-1-abc  FAILED ")
        self.assertIn("step train failed: boom", run)
        self.assertIn("mend it and resume", run)

    def test_runs_are_listed_over_all_pages_and_by_state(self):
        for _ in range(4):
            self.daemon._new("DemoFlow")

        every, _ = self.ok("demo.py", "dalsegno", "list-runs")
        failed, _ = self.ok("demo.py", "dalsegno", "list-runs", "--failed", "--timed-out")
        _, nothing = self.ok("demo.py", "dalsegno", "list-runs", "--aborted")

        self.assertEqual([line.split()[0] for line in every.splitlines()], [
            "dalsegno-%d-abc" % number for number in (5, 4, 3, 2, 1)
        ])
        self.assertEqual([line.split()[0] for line in failed.splitlines()], ["dalsegno-1-abc"])
        self.assertIn("No aborted runs of DemoFlow", nothing.replace("*", ""))

    def test_a_run_is_stopped_and_a_flow_is_removed(self):
        self.daemon._new("DemoFlow")

        self.ok("demo.py", "dalsegno", "terminate", "dalsegno-2-abc", "--reason", "wrong data")
        self.ok("demo.py", "dalsegno", "delete")

        self.assertEqual(self.daemon.body("/runs/2/cancel"), {"by": "ada", "reason": "wrong data"})
        self.assertIn("DELETE /flows/DemoFlow", self.daemon.paths())
        self.assertIn("there is no flow", self.refused("report.py", "dalsegno", "delete"))


class Connection(ClientTest):
    def test_a_daemon_that_is_not_there_is_named_with_the_cure(self):
        self.daemon.stop()

        error = self.refused("demo.py", "dalsegno", "status")

        self.assertIn("Dalsegno does not answer", error)
        self.assertIn(self.daemon.url, error)
        self.assertIn("`dalsegno up`", error)
        self.assertNotIn("Traceback", error)
        self.daemon = type(self.daemon)()
        self.addCleanup(self.daemon.stop)

    def test_the_daemon_may_be_named_by_an_option_and_a_proxy_does_not_come_between(self):
        env = {"DALSEGNO_URL": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}

        self.ok("demo.py", "dalsegno", "--server", self.daemon.url + "/", "create", env=env)

        self.assertIn("POST /metaflow/deployments", self.daemon.paths())

    def test_the_token_goes_along_and_a_missing_one_is_told(self):
        self.ok("demo.py", "dalsegno", "create", env={"DALSEGNO_TOKEN": "s3cret"})
        self.assertEqual({it["authorization"] for it in self.daemon.asked}, {"Bearer s3cret"})

        self.daemon.refusals["/flows"] = (401, problem(401, "Unauthorized", "the request has none"))
        self.assertIn("DALSEGNO_TOKEN", self.refused("demo.py", "dalsegno", "status"))

    def test_something_else_that_answers_is_not_taken_for_a_daemon(self):
        self.daemon.refusals["/flows"] = (200, b"<html>hello</html>")
        self.assertIn("no Dalsegno daemon", self.refused("demo.py", "dalsegno", "status"))

        self.daemon.refusals["/flows"] = (502, b"<html>bad gateway</html>")
        self.assertIn("HTTP 502", self.refused("demo.py", "dalsegno", "status"))


if __name__ == "__main__":
    unittest.main()
