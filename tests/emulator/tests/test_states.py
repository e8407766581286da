"""State machines are interpreted down to the processes of their jobs, stopped, and redriven."""

import json
import os
import tempfile
import unittest

from botocore.exceptions import ClientError

from kit import Case, admin, until


class Machines(Case):
    def setUp(self):
        super().setUp()
        admin("PUT", f"/_states/machines/{self.id}", {"second_ms": 20})

    def refused(self, code, ask, **arguments):
        with self.assertRaises(ClientError) as raised:
            ask(**arguments)
        self.assertEqual(raised.exception.response["Error"]["Code"], code)

    def types(self, arn):
        return [it["type"] for it in self.history(arn)]

    def distributed(self, bucket, state):
        return {
            "Type": "Map",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": bucket, "Key": "items.json"},
            },
            "ItemSelector": {"n.$": "$$.Map.Item.Value.n", "index.$": "$$.Map.Item.Index"},
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "One",
                "States": {"One": state},
            },
            "MaxConcurrency": 40,
            "Label": "items",
            "End": True,
        }


class States(Machines):
    def test_a_chain_ends_in_a_process(self):
        url = self.events_queue()
        with tempfile.TemporaryDirectory() as folder:
            machine = self.machine({"Job": self.task("touch", f"{folder}/ran", End=True)})
            arn = self.start(machine)
            ended = self.execution_ends(arn)
            self.assertTrue(os.path.exists(f"{folder}/ran"))
        self.assertEqual(ended["status"], "SUCCEEDED")
        output = json.loads(ended["output"])
        self.assertEqual((output["Status"], output["Container"]["ExitCode"]), ("SUCCEEDED", 0))
        self.assertEqual(
            self.types(arn),
            [
                "ExecutionStarted",
                "TaskStateEntered",
                "TaskScheduled",
                "TaskStarted",
                "TaskSubmitted",
                "TaskSucceeded",
                "TaskStateExited",
                "ExecutionSucceeded",
            ],
        )
        told = self.told(url, lambda it: any(one["detail"]["status"] == "SUCCEEDED" and one["source"] == "aws.states" for one in it))
        kinds = [(it["source"], it["detail"]["status"]) for it in told]
        self.assertEqual(kinds[0], ("aws.states", "RUNNING"))
        self.assertIn(("aws.batch", "SUCCEEDED"), kinds)

    def test_several_names_in_brackets_give_an_object_and_jobs_know_that_they_are_in_a_container(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f'printf %s "$AWS_EXECUTION_ENV" > {folder}/ran'
            job = self.task("sh", "-c", script, OutputPath="$.['JobId', 'Status', 'Index']", End=True)
            ended = self.execution_ends(self.start(self.machine({"Job": job})))
            with open(f"{folder}/ran") as file:
                self.assertEqual(file.read(), "AWS_ECS_EC2")
        output = json.loads(ended["output"])
        self.assertEqual(sorted(output), ["JobId", "Status"], "what is not there is left out")
        self.assertEqual(output["Status"], "SUCCEEDED")

    def test_a_path_may_have_a_dot_before_its_brackets(self):
        one = {"Type": "Pass", "Parameters": {"first.$": "$.[0].Job", "more.$": "$.[1].['a.b']"}, "End": True}
        ended = self.execution_ends(self.start(self.machine({"One": one}), [{"Job": "x"}, {"a.b": 2}]))
        self.assertEqual(json.loads(ended["output"]), {"first": "x", "more": 2})

    def test_a_failed_job_is_retried_and_caught(self):
        with tempfile.TemporaryDirectory() as folder:
            once = f"test -e {folder}/x || {{ touch {folder}/x; exit 9; }}"
            again = {
                "ErrorEquals": ["States.TaskFailed"],
                "IntervalSeconds": 1,
                "MaxAttempts": 2,
                "BackoffRate": 2.0,
                "MaxDelaySeconds": 3,
                "JitterStrategy": "FULL",
            }
            caught = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Mend"}
            machine = self.machine(
                {
                    "Once": self.task("sh", "-c", once, name="once", Retry=[again], ResultPath=None, Next="Never"),
                    "Never": self.task("false", name="never", Catch=[caught], Next="Mend"),
                    "Mend": {"Type": "Pass", "Parameters": {"error.$": "$.error.Error"}, "End": True},
                }
            )
            ended = self.execution_ends(self.start(machine))
        self.assertEqual((ended["status"], json.loads(ended["output"])), ("SUCCEEDED", {"error": "States.TaskFailed"}))
        self.assertEqual([it["status"] for it in self.named("once")], ["SUCCEEDED", "FAILED"])

    def test_a_state_that_takes_too_long_takes_its_job_down(self):
        machine = self.machine({"Job": self.task("sleep", "600", TimeoutSeconds=30, End=True)})
        ended = self.execution_ends(self.start(machine))
        self.assertEqual((ended["status"], ended["error"]), ("FAILED", "States.Timeout"))
        self.assertEqual(self.ends(self.named()[0]["jobId"])["status"], "FAILED")

    def test_an_execution_that_takes_too_long(self):
        machine = self.machine({"Wait": {"Type": "Wait", "Seconds": 9999, "End": True}}, TimeoutSeconds=5)
        arn = self.start(machine)
        self.assertEqual(self.execution_ends(arn)["status"], "TIMED_OUT")
        self.assertEqual(self.types(arn)[-1], "ExecutionTimedOut")

    def test_a_stopped_execution_takes_its_job_down_and_says_why(self):
        arn = self.start(self.machine({"Job": self.task("sleep", "600", End=True)}))
        job = until("the job", self.named)[0]["jobId"]
        self.reaches(job, "RUNNING")
        self.sfn.stop_execution(executionArn=arn, error="Enough", cause="of this")
        ended = self.execution_ends(arn)
        self.assertEqual((ended["status"], ended["error"], ended["cause"]), ("ABORTED", "Enough", "of this"))
        self.assertEqual(self.ends(job)["status"], "FAILED")

    def test_branches_items_and_choices(self):
        item = {
            "StartAt": "Is",
            "States": {
                "Is": {
                    "Type": "Choice",
                    "Choices": [{"Variable": "$.n", "NumericGreaterThan": 1, "Next": "Big"}],
                    "Default": "Small",
                },
                "Big": {"Type": "Pass", "Parameters": {"big.$": "States.Format('{}!', $.n)"}, "End": True},
                "Small": {"Type": "Pass", "Result": "small", "End": True},
            },
        }
        both = {
            "Type": "Parallel",
            "End": True,
            "Branches": [
                {"StartAt": "P", "States": {"P": {"Type": "Pass", "Result": 1, "End": True}}},
                {
                    "StartAt": "M",
                    "States": {
                        "M": {
                            "Type": "Map",
                            "ItemsPath": "$.items",
                            "ItemSelector": {"n.$": "$$.Map.Item.Value", "at.$": "$$.Map.Item.Index"},
                            "ItemProcessor": item,
                            "MaxConcurrency": 2,
                            "End": True,
                        }
                    },
                },
            ],
        }
        arn = self.start(self.machine({"Both": both}), {"items": [1, 2, 3]})
        ended = self.execution_ends(arn)
        self.assertEqual(json.loads(ended["output"]), [1, ["small", {"big": "2!"}, {"big": "3!"}]])
        self.assertEqual(self.types(arn).count("MapIterationSucceeded"), 3)

    def test_a_branch_that_fails_takes_its_siblings_down(self):
        slow = {"StartAt": "S", "States": {"S": self.task("sleep", "600", name="slow", End=True)}}
        bad = {"StartAt": "B", "States": {"B": self.task("sh", "-c", "exit 4", name="bad", End=True)}}
        machine = self.machine({"Both": {"Type": "Parallel", "Branches": [slow, bad], "End": True}})
        ended = self.execution_ends(self.start(machine))
        self.assertEqual(ended["error"], "States.TaskFailed")
        self.assertEqual(json.loads(ended["cause"])["Container"]["ExitCode"], 4)
        for job in self.named("slow"):
            self.assertEqual(self.ends(job["jobId"])["status"], "FAILED")

    def test_a_distributed_map_reads_its_items_from_s3(self):
        bucket = self.id
        self.s3.create_bucket(Bucket=bucket)
        self.s3.put_object(Bucket=bucket, Key="items.json", Body=json.dumps([{"n": n} for n in range(120)]))
        machine = self.machine({"Map": self.distributed(bucket, {"Type": "Pass", "End": True})})
        arn = self.start(machine)
        ended = self.execution_ends(arn)
        self.assertEqual(json.loads(ended["output"])[119], {"n": 119, "index": 119})
        run = self.sfn.list_map_runs(executionArn=arn)["mapRuns"][0]["mapRunArn"]
        self.assertEqual(self.sfn.describe_map_run(mapRunArn=run)["itemCounts"]["succeeded"], 120)
        found = self.sfn.list_executions(mapRunArn=run, maxResults=1000)["executions"]
        self.assertEqual(len(found), 120)

    def test_an_object_is_read_through_the_sdk(self):
        self.s3.create_bucket(Bucket=self.id)
        self.s3.put_object(Bucket=self.id, Key="a", Body=b'{"x": [1, 2]}')
        get = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
            "Parameters": {"Bucket": self.id, "Key.$": "$.key"},
            "ResultSelector": {"body.$": "States.StringToJson($.Body)"},
            "Catch": [{"ErrorEquals": ["S3.NoSuchKeyException"], "Next": "None"}],
            "End": True,
        }
        machine = self.machine({"Get": get, "None": {"Type": "Pass", "Result": "none", "End": True}})
        ended = self.execution_ends(self.start(machine, {"key": "a"}))
        self.assertEqual(json.loads(ended["output"]), {"body": {"x": [1, 2]}})
        ended = self.execution_ends(self.start(machine, {"key": "b"}, name="other"))
        self.assertEqual(json.loads(ended["output"]), "none")

    def test_names_and_idempotency(self):
        machine = self.machine({"Wait": {"Type": "Wait", "Seconds": 99999, "End": True}})
        first = self.start(machine, {"a": 1})
        self.assertEqual(self.start(machine, {"a": 1}), first)
        start = self.sfn.start_execution
        name = f"{self.id}-run"
        self.refused("ExecutionAlreadyExists", start, stateMachineArn=machine, name=name, input="{}")
        self.sfn.stop_execution(executionArn=first)
        self.execution_ends(first)
        self.refused("ExecutionAlreadyExists", start, stateMachineArn=machine, name=name, input='{"a": 1}')
        for bad in ("a b", "a" * 81, "a/b", "a:b"):
            with self.assertRaises(Exception):
                start(stateMachineArn=machine, name=bad)
        self.refused("InvalidExecutionInput", start, stateMachineArn=machine, name="x", input="{")
        self.refused("StateMachineDoesNotExist", start, stateMachineArn=machine + "x", name="x")
        self.refused("ExecutionDoesNotExist", self.sfn.describe_execution, executionArn=first + "x")

    def test_definitions_are_judged_and_their_versions_kept(self):
        create = self.sfn.create_state_machine
        one = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}})
        two = json.dumps({"StartAt": "B", "States": {"B": {"Type": "Succeed"}}})
        given = {"name": self.id, "roleArn": self.role}
        made = create(definition=one, publish=True, versionDescription="first", **given)
        self.assertTrue(made["stateMachineVersionArn"].endswith(f":{self.id}:1"))
        self.assertEqual(create(definition=one, **given)["stateMachineArn"], made["stateMachineArn"])
        self.refused("StateMachineAlreadyExists", create, definition=two, **given)
        arn = made["stateMachineArn"]
        updated = self.sfn.update_state_machine(stateMachineArn=arn, definition=two, publish=True)
        self.assertTrue(updated["stateMachineVersionArn"].endswith(":2"))
        self.assertEqual(self.sfn.describe_state_machine(stateMachineArn=f"{arn}:1")["definition"], one)
        again = self.sfn.publish_state_machine_version(stateMachineArn=arn)
        self.assertTrue(again["stateMachineVersionArn"].endswith(":2"))
        versions = self.sfn.list_state_machine_versions(stateMachineArn=arn)["stateMachineVersions"]
        self.assertEqual(len(versions), 2)
        execution = self.sfn.start_execution(stateMachineArn=f"{arn}:1", name=self.id)["executionArn"]
        self.execution_ends(execution)
        self.assertEqual(self.history(execution)[1]["stateEnteredEventDetails"]["name"], "A")
        lost = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "Nowhere"}}})
        for bad in ("{", "{}", lost):
            self.refused("InvalidDefinition", create, definition=bad, name="x", roleArn=self.role)

    def test_the_history_has_pages_and_an_order(self):
        states = {f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(10)}
        states["S10"] = {"Type": "Succeed"}
        arn = self.start(self.machine(states))
        self.execution_ends(arn)
        pages, token = [], None
        while True:
            more = {"nextToken": token} if token else {}
            page = self.sfn.get_execution_history(executionArn=arn, maxResults=10, **more)
            pages.append([it["id"] for it in page["events"]])
            token = page.get("nextToken")
            if not token:
                break
        self.assertEqual([len(it) for it in pages], [10, 10, 4])
        self.assertEqual(sum(pages, []), list(range(1, 25)))
        last = self.sfn.get_execution_history(executionArn=arn, maxResults=1, reverseOrder=True)["events"]
        self.assertEqual(last[0]["type"], "ExecutionSucceeded")

    def test_an_execution_is_gone_behind_our_back(self):
        arn = self.start(self.machine({"End": {"Type": "Succeed"}}))
        self.execution_ends(arn)
        admin("DELETE", f"/_states/executions/{arn}")
        self.refused("ExecutionDoesNotExist", self.sfn.describe_execution, executionArn=arn)
        found = admin("GET", f"/_states/executions?name={self.id}")
        self.assertEqual([it["gone"] for it in found], [True])


class Redrives(Machines):
    """Only what had failed runs again, in the same execution."""

    def test_a_redrive_runs_only_what_had_failed(self):
        with tempfile.TemporaryDirectory() as folder:

            def leg(name, script):
                task = self.task("sh", "-c", f"echo >> {folder}/{name}; {script}", name=name, End=True)
                return {"StartAt": name, "States": {name: task}}

            good = leg("good", "true")
            # What comes after the good state says that it is over.
            good["States"]["good"].update(Next="after")
            del good["States"]["good"]["End"]
            good["States"].update(leg("after", "true")["States"])
            wait = f"while [ ! -s {folder}/after ]; do sleep 0.02; done"
            both = {
                "Type": "Parallel",
                "Next": "Last",
                "Branches": [good, leg("bad", f"{wait}; test -e {folder}/mended")],
            }
            first = self.task("sh", "-c", f"echo >> {folder}/first", name="first", Next="Both", ResultPath=None)
            machine = self.machine({"First": first, "Both": both, "Last": {"Type": "Succeed"}})
            arn = self.start(machine)
            self.refused("ExecutionNotRedrivable", self.sfn.redrive_execution, executionArn=arn)
            failed = self.execution_ends(arn)
            self.assertEqual((failed["status"], failed["redriveStatus"]), ("FAILED", "REDRIVABLE"))
            before = len(self.history(arn))
            os.mkdir(f"{folder}/mended")
            self.sfn.redrive_execution(executionArn=arn)
            ended = self.execution_ends(arn)
            counts = {name: os.path.getsize(f"{folder}/{name}") for name in ("first", "good", "bad")}
        self.assertEqual((ended["status"], ended["redriveCount"]), ("SUCCEEDED", 1))
        self.assertEqual(ended["redriveStatus"], "NOT_REDRIVABLE")
        self.assertEqual(counts, {"first": 1, "good": 1, "bad": 2})
        self.assertEqual(self.history(arn)[before]["type"], "ExecutionRedriven")
        self.refused("ExecutionNotRedrivable", self.sfn.redrive_execution, executionArn=arn)
        self.refused("ExecutionDoesNotExist", self.sfn.redrive_execution, executionArn=arn + "x")

    def test_a_redrive_of_a_distributed_map_runs_only_the_failed_items(self):
        self.s3.create_bucket(Bucket=self.id)
        self.s3.put_object(Bucket=self.id, Key="items.json", Body=json.dumps([{"n": n} for n in range(5)]))
        with tempfile.TemporaryDirectory() as folder:
            script = f"echo >> {folder}/$AWS_BATCH_JOB_ID; test $N != 3 || test -e {folder}/mended"
            task = self.task("sh", "-c", script, name="item", End=True)
            task["Parameters"]["ContainerOverrides"]["Environment"] = [{"Name": "N", "Value.$": "States.Format('{}', $.n)"}]
            state = self.distributed(self.id, task)
            state["ToleratedFailurePercentage"] = 0
            state["MaxConcurrency"] = 1
            arn = self.start(self.machine({"Map": state}))
            failed = self.execution_ends(arn)
            self.assertEqual(failed["error"], "States.ExceedToleratedFailureThreshold")
            self.assertEqual(len(self.named("item")), 4)
            os.mkdir(f"{folder}/mended")
            self.sfn.redrive_execution(executionArn=arn)
            ended = self.execution_ends(arn)
        self.assertEqual(ended["status"], "SUCCEEDED")
        self.assertEqual(len(self.named("item")), 6)
        self.assertIn("MapRunRedriven", self.types(arn))

    def test_a_redrive_is_refused_after_fourteen_days(self):
        arn = self.start(self.machine({"No": {"Type": "Fail", "Error": "No", "Cause": "way"}}))
        self.assertEqual(self.execution_ends(arn)["error"], "No")
        admin("POST", f"/_states/executions/{arn}/age?days=15")
        self.refused("ExecutionNotRedrivable", self.sfn.redrive_execution, executionArn=arn)

    def test_a_stopped_execution_is_redriven(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"test -e {folder}/go || exec sleep 600"
            arn = self.start(self.machine({"Job": self.task("sh", "-c", script, End=True)}))
            self.reaches(until("the job", self.named)[0]["jobId"], "RUNNING")
            self.sfn.stop_execution(executionArn=arn)
            self.assertEqual(self.execution_ends(arn)["status"], "ABORTED")
            os.mkdir(f"{folder}/go")
            self.sfn.redrive_execution(executionArn=arn)
            self.assertEqual(self.execution_ends(arn)["status"], "SUCCEEDED")
        self.assertEqual(len(self.named()), 2)


if __name__ == "__main__":
    unittest.main()
