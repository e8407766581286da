"""How queues give places, what they tell, and how jobs are listed."""

import unittest

from botocore.exceptions import ClientError

from kit import Case, admin, until


class Queues(Case):
    def test_jobs_beyond_the_capacity_stay_runnable_and_say_why(self):
        self.control(capacity=1)
        first = self.submit("sleep", "600", name="first")
        self.reaches(first, "RUNNING")
        second = self.submit("true", name="second")
        until("a reason", lambda: self.job(second).get("statusReason"))
        waiting = self.job(second)
        self.assertEqual(waiting["status"], "RUNNABLE")
        self.assertTrue(waiting["statusReason"].startswith("CAPACITY:"))
        self.batch.terminate_job(jobId=first, reason="enough")
        self.assertEqual(self.ends(second)["status"], "SUCCEEDED")

    def test_places_can_be_counted_in_processors(self):
        self.control(vcpus=3)
        more = {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}
        jobs = [
            self.batch.submit_job(
                jobName=f"{self.id}-{number}",
                jobQueue=self.id,
                jobDefinition=self.id,
                containerOverrides={"command": ["sleep", "600"], **more},
            )["jobId"]
            for number in range(2)
        ]
        self.reaches(jobs[0], "RUNNING")
        until("a reason", lambda: self.job(jobs[1]).get("statusReason"))
        for job in jobs:
            self.batch.terminate_job(jobId=job, reason="enough")

    def test_a_held_queue_is_blocked_and_tells_it(self):
        url = self.events_queue()
        self.control(hold=True, reason="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
        job = self.submit("true")
        blocked = self.told(url, lambda it: any(one["detail-type"] == "Batch Job Queue Blocked" for one in it))[-1]
        self.assertEqual(blocked["detail"]["statusReason"], "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
        self.assertEqual(blocked["detail"]["jobId"], job)
        self.control(hold=False)
        self.assertEqual(self.ends(job)["status"], "SUCCEEDED")

    def test_a_lost_host_leaves_no_exit_code_and_the_strategy_decides(self):
        rules = [{"onStatusReason": "Host EC2*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}]
        script = "test $AWS_BATCH_JOB_ATTEMPT = 2 || exec sleep 600"
        job = self.submit("sh", "-c", script, retryStrategy={"attempts": 5, "evaluateOnExit": rules})
        self.reaches(job, "RUNNING")
        admin("POST", f"/_batch/jobs/{job}/reclaim")
        ended = self.ends(job)
        self.assertEqual((ended["status"], len(ended["attempts"])), ("SUCCEEDED", 2))
        lost = ended["attempts"][0]
        self.assertRegex(lost["statusReason"], r"^Host EC2 \(instance i-\w{17}\) terminated\.$")
        self.assertNotIn("exitCode", lost["container"])

        job = self.submit("sleep", "600", name="single")
        self.reaches(job, "RUNNING")
        admin("POST", f"/_batch/jobs/{job}/reclaim")
        self.assertEqual(self.ends(job)["status"], "FAILED")

    def test_a_container_without_memory(self):
        job = self.submit("sleep", "600")
        self.reaches(job, "RUNNING")
        reason = "OutOfMemoryError: Container killed due to memory usage"
        admin("POST", f"/_batch/jobs/{job}/end", {"exit": 137, "reason": reason})
        ended = self.ends(job)["container"]
        self.assertEqual((ended["exitCode"], ended["reason"]), (137, reason))

    def test_events_tell_every_state(self):
        url = self.events_queue()
        self.ends(self.submit("true"))
        told = self.told(url, lambda it: len(it) >= 5)
        states = [it["detail"]["status"] for it in told]
        self.assertEqual(states, ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"])
        self.assertEqual(len({it["id"] for it in told}), 5)

    def test_events_come_twice_late_in_another_order_or_never(self):
        url = self.events_queue()
        admin("PUT", f"/_events/{self.id}", {"drop": 1, "double": 1, "reorder": 3})
        self.ends(self.submit("true"))
        told = self.told(url, lambda it: len(it) >= 5)
        states = [it["detail"]["status"] for it in told]
        self.assertEqual(states, ["RUNNING", "STARTING", "RUNNABLE", "RUNNABLE", "SUCCEEDED"])
        self.assertEqual(told[2]["id"], told[3]["id"])

        admin("PUT", f"/_events/{self.id}", {"delay_ms": 1500})
        self.ends(self.submit("true", name="late"))
        got = self.sqs.receive_message(QueueUrl=url)
        self.assertNotIn("Messages", got)
        self.assertEqual(len(self.told(url, lambda it: len(it) >= 5)), 5)

    def test_pages_and_filters(self):
        self.control(instant=True)
        for number in range(7):
            self.submit(name=f"Page-{number}")
        until("the end", lambda: admin("GET", f"/_batch/queues/{self.id}")["jobs"]["SUCCEEDED"] == 7)
        self.assertEqual(self.batch.list_jobs(jobQueue=self.id)["jobSummaryList"], [])
        found, token = [], None
        while True:
            more = {"nextToken": token} if token else {}
            page = self.batch.list_jobs(jobQueue=self.id, jobStatus="SUCCEEDED", maxResults=3, **more)
            self.assertLessEqual(len(page["jobSummaryList"]), 3)
            found += [it["jobName"] for it in page["jobSummaryList"]]
            token = page.get("nextToken")
            if not token:
                break
        self.assertEqual(found, [f"{self.id}-Page-{number}" for number in reversed(range(7))])
        self.assertEqual(len(self.named("pAGE-*")), 7)
        self.assertEqual(len(self.named("page-3")), 1)
        self.assertEqual(self.named("page"), [])
        with self.assertRaisesRegex(ClientError, "100"):
            self.batch.describe_jobs(jobs=["x"] * 101)
        self.assertEqual(self.batch.describe_jobs(jobs=["nobody"])["jobs"], [])

    def test_a_new_job_is_not_visible_at_once(self):
        self.control(visible_after_ms=1500, instant=True)
        job = self.submit()
        self.assertEqual(self.named(), [])
        self.assertEqual(self.batch.describe_jobs(jobs=[job])["jobs"], [])
        until("the job", self.named)
        self.assertEqual(self.job(job)["jobId"], job)

    def test_a_job_is_gone_behind_our_back(self):
        job = self.submit("true")
        self.ends(job)
        admin("DELETE", f"/_batch/jobs/{job}")
        self.assertEqual(self.batch.describe_jobs(jobs=[job])["jobs"], [])
        self.assertEqual(self.named(), [])
        found = admin("GET", f"/_batch/jobs?name={self.id}")
        self.assertEqual([(it["id"], it["gone"]) for it in found], [(job, True)])

    def test_tags_are_kept(self):
        job = self.submit("true", tags={"dalsegno:run": "1"})
        arn = self.job(job)["jobArn"]
        self.batch.tag_resource(resourceArn=arn, tags={"more": "2"})
        self.assertEqual(self.batch.list_tags_for_resource(resourceArn=arn)["tags"], {"dalsegno:run": "1", "more": "2"})
        self.batch.untag_resource(resourceArn=arn, tagKeys=["more"])
        self.assertEqual(self.job(job)["tags"], {"dalsegno:run": "1"})

    def test_a_thousand_jobs_at_once_without_a_process(self):
        self.control(instant=True)
        job = self.submit(arrayProperties={"size": 1000})
        self.assertEqual(self.ends(job)["arrayProperties"]["statusSummary"]["SUCCEEDED"], 1000)


if __name__ == "__main__":
    unittest.main()
