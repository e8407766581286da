"""Jobs of Batch are processes, with exit codes, retries, timeouts and arrays as AWS has them."""

import os
import tempfile
import unittest

from botocore.exceptions import ClientError

from kit import Case, admin, until


class Jobs(Case):
    def test_a_command_runs_with_its_environment_and_its_lines_are_in_the_logs(self):
        job = self.submit("sh", "-c", "echo $GREETING from $AWS_BATCH_JOB_ID", environment=[("GREETING", "hello")])
        ended = self.ends(job)
        self.assertEqual((ended["status"], ended["container"]["exitCode"]), ("SUCCEEDED", 0))
        stream = ended["container"]["logStreamName"]

        def lines():
            try:
                found = self.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
            except ClientError:
                return None
            return [it["message"] for it in found]

        self.assertEqual(until("lines", lines), [f"hello from {job}"])

    def test_lines_are_there_while_the_job_runs(self):
        job = self.submit("sh", "-c", "echo first; exec sleep 600")
        stream = self.reaches(job, "RUNNING")["container"]["logStreamName"]

        def lines():
            try:
                found = self.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)["events"]
            except ClientError:
                return None
            return [it["message"] for it in found]

        self.assertEqual(until("a line", lines), ["first"])
        self.batch.terminate_job(jobId=job, reason="enough")
        self.ends(job)

    def test_an_exit_code_is_told(self):
        ended = self.ends(self.submit("sh", "-c", "exit 3"))
        self.assertEqual((ended["status"], ended["container"]["exitCode"]), ("FAILED", 3))
        self.assertEqual(ended["statusReason"], "Essential container in task exited")

    def test_a_command_that_is_not_there_cannot_start(self):
        ended = self.ends(self.submit("no-such-command"))
        self.assertEqual((ended["status"], ended["container"]["exitCode"]), ("FAILED", 127))
        self.assertIn("CannotStartContainerError", ended["container"]["reason"])

    def test_attempts_are_counted_and_told(self):
        ended = self.ends(self.submit("sh", "-c", "test $AWS_BATCH_JOB_ATTEMPT -ge 3", retryStrategy={"attempts": 3}))
        self.assertEqual(ended["status"], "SUCCEEDED")
        self.assertEqual([it["container"]["exitCode"] for it in ended["attempts"]], [1, 1, 0])

    def test_the_first_condition_that_matches_decides_about_a_retry(self):
        rules = [{"onExitCode": "7", "action": "exit"}, {"onReason": "*", "action": "retry"}]
        ended = self.ends(self.submit("sh", "-c", "exit 7", retryStrategy={"attempts": 5, "evaluateOnExit": rules}))
        self.assertEqual(len(ended["attempts"]), 1)
        ended = self.ends(self.submit("sh", "-c", "exit 8", retryStrategy={"attempts": 2, "evaluateOnExit": rules}))
        self.assertEqual(len(ended["attempts"]), 2)

    def test_a_timeout_kills_and_is_not_retried(self):
        self.control(second_ms=5)
        job = self.submit(
            "sleep", "600", timeout={"attemptDurationSeconds": 60}, retryStrategy={"attempts": 3}
        )
        ended = self.ends(job)
        self.assertEqual((ended["status"], len(ended["attempts"])), ("FAILED", 1))
        self.assertEqual(ended["statusReason"], "Job attempt duration exceeded timeout")
        with self.assertRaisesRegex(ClientError, "at least 60"):
            self.submit("true", timeout={"attemptDurationSeconds": 59})

    def test_a_terminated_job_is_dead_and_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"trap 'touch {folder}/asked; exit 1' TERM; touch {folder}/up; while :; do sleep 0.05; done"
            job = self.submit("sh", "-c", script)
            until("the process", lambda: os.path.exists(f"{folder}/up"))
            self.batch.terminate_job(jobId=job, reason="not needed any more")
            ended = self.ends(job)
            self.assertTrue(os.path.exists(f"{folder}/asked"))
        self.assertEqual((ended["status"], ended["statusReason"]), ("FAILED", "not needed any more"))
        self.assertTrue(ended["isTerminated"])

    def test_a_cancelled_job_never_starts_and_a_running_one_is_left_alone(self):
        running = self.submit("sleep", "600", name="running")
        self.reaches(running, "RUNNING")
        self.control(hold=True)
        waiting = self.submit("true", name="waiting")
        self.batch.cancel_job(jobId=waiting, reason="no")
        self.batch.cancel_job(jobId=running, reason="no")
        self.assertEqual(self.ends(waiting)["statusReason"], "no")
        self.assertEqual(self.job(running)["status"], "RUNNING")
        self.batch.terminate_job(jobId=running, reason="enough")
        self.ends(running)

    def test_a_job_waits_for_those_it_depends_on(self):
        self.control(hold=True)
        first = self.submit("true", name="first")
        second = self.submit("true", name="second", dependsOn=[{"jobId": first}])
        self.reaches(second, "PENDING")
        self.control(hold=False)
        self.assertGreaterEqual(self.ends(second)["startedAt"], self.job(first)["stoppedAt"])
        bad = self.submit("false", name="bad")
        after = self.submit("true", name="after", dependsOn=[{"jobId": bad}])
        self.assertEqual(self.ends(after)["statusReason"], "Dependent Job failed")

    def test_an_array_of_a_hundred(self):
        with tempfile.TemporaryDirectory() as folder:
            script = f"touch {folder}/$AWS_BATCH_JOB_ARRAY_INDEX; test $AWS_BATCH_JOB_ARRAY_INDEX != 42"
            job = self.submit("sh", "-c", script, arrayProperties={"size": 100})
            ended = self.ends(job)
            self.assertEqual(sorted(map(int, os.listdir(folder))), list(range(100)))
        summary = ended["arrayProperties"]["statusSummary"]
        self.assertEqual((ended["status"], summary["SUCCEEDED"], summary["FAILED"]), ("FAILED", 99, 1))
        child = self.job(f"{job}:42")
        self.assertEqual((child["status"], child["arrayProperties"]["index"]), ("FAILED", 42))
        failed = self.batch.list_jobs(arrayJobId=job, jobStatus="FAILED")["jobSummaryList"]
        self.assertEqual([it["jobId"] for it in failed], [f"{job}:42"])

    def test_an_array_is_terminated_as_a_whole(self):
        job = self.submit("sleep", "600", arrayProperties={"size": 5})
        until("a child", lambda: self.job(job)["arrayProperties"]["statusSummary"]["RUNNING"] == 5)
        self.batch.terminate_job(jobId=job, reason="enough")
        self.assertEqual(self.ends(job)["arrayProperties"]["statusSummary"]["FAILED"], 5)

    def test_what_aws_refuses_is_refused(self):
        for why, more in (
            ("Array size", {"arrayProperties": {"size": 10001}}),
            ("Retry attempts", {"retryStrategy": {"attempts": 11}}),
            ("Tag", {"tags": {"aws:mine": "x"}}),
            ("does not exist", {"dependsOn": [{"jobId": "nobody"}]}),
        ):
            with self.assertRaisesRegex(ClientError, why):
                self.submit("true", **more)
        with self.assertRaisesRegex(ClientError, "8192"):
            self.submit("true", environment=[("BIG", "x" * 8192)])
        with self.assertRaisesRegex(ClientError, "Job name"):
            self.submit("true", name="a b")
        with self.assertRaisesRegex(ClientError, "Job name"):
            self.submit("true", name="a" * 128)
        with self.assertRaisesRegex(ClientError, "Job queue"):
            self.batch.submit_job(jobName="a", jobQueue="no-such-queue", jobDefinition=self.id)
        admin("POST", f"/_batch/definitions/arn:aws:batch:us-east-1:123456789012:job-definition/{self.id}:1/deregister")
        with self.assertRaisesRegex(ClientError, "Job definition"):
            self.submit("true")

    def test_two_hundred_processes(self):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(200):
                self.submit("sh", "-c", f"touch {folder}/{number}", name=f"many-{number}")
            until("all", lambda: admin("GET", f"/_batch/queues/{self.id}")["jobs"]["SUCCEEDED"] == 200)
            self.assertEqual(len(os.listdir(folder)), 200)


if __name__ == "__main__":
    unittest.main()
