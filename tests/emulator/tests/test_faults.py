"""Faults on demand look as AWS's own do, and what was done is done."""

import unittest

from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ReadTimeoutError

from kit import Case, admin, until


class Faults(Case):
    def fault(self, **rule):
        admin("POST", "/_fault", {"with": self.id, **rule})
        self.addCleanup(admin, "DELETE", f"/_fault?with={self.id}")

    def test_throttling_has_the_words_of_each_service(self):
        self.fault(service="batch", op="SubmitJob", kind="throttle", times=1)
        with self.assertRaises(ClientError) as raised:
            self.submit("true")
        self.assertEqual(raised.exception.response["Error"]["Code"], "TooManyRequestsException")
        self.assertEqual(raised.exception.response["ResponseMetadata"]["HTTPStatusCode"], 429)
        self.fault(service="states", op="StartExecution", kind="throttle", times=1)
        machine = self.machine({"End": {"Type": "Succeed"}})
        with self.assertRaises(ClientError) as raised:
            self.start(machine)
        self.assertEqual(raised.exception.response["Error"]["Code"], "ThrottlingException")
        self.execution_ends(self.start(machine))

    def test_denied_and_broken(self):
        for kind, status in (("denied", 403), ("500", 500), ("503", 503)):
            self.fault(service="batch", op="SubmitJob", kind=kind, times=1)
            with self.assertRaises(ClientError) as raised:
                self.submit("true")
            self.assertEqual(raised.exception.response["ResponseMetadata"]["HTTPStatusCode"], status)
        self.assertEqual(self.named(), [])

    def test_a_lost_reply_of_a_submission_leaves_a_job(self):
        self.fault(service="batch", op="SubmitJob", kind="lost_reply", times=1)
        with self.assertRaises((ConnectionClosedError, HTTPClientError)):
            self.submit("true")
        found = until("the job", self.named)
        self.assertEqual(len(found), 1)
        self.ends(found[0]["jobId"])

    def test_a_reset_leaves_none(self):
        self.fault(service="batch", op="SubmitJob", kind="reset", times=1)
        with self.assertRaises((ConnectionClosedError, HTTPClientError)):
            self.submit("true")
        self.assertEqual(self.named(), [])

    def test_garbage_and_silence(self):
        self.fault(service="batch", op="SubmitJob", kind="garbage", times=1)
        with self.assertRaises(Exception):
            self.submit("true")
        self.fault(service="batch", op="SubmitJob", kind="hang", times=1, ms=100)
        with self.assertRaises((ConnectionClosedError, HTTPClientError, ReadTimeoutError)):
            self.submit("true")
        self.assertEqual(self.named(), [])

    def test_a_delay_is_only_a_delay(self):
        self.fault(service="batch", op="SubmitJob", kind="delay", times=1, ms=50)
        self.ends(self.submit("true"))
        seen = [it for it in admin("GET", f"/_fault?with={self.id}")["seen"] if it[0] == "SubmitJob"]
        self.assertEqual([it[2] for it in seen], ["batch"])

    def test_a_state_sees_faults_too(self):
        self.fault(service="batch", op="SubmitJob", kind="throttle", times=1)
        again = {"ErrorEquals": ["Batch.TooManyRequestsException"], "IntervalSeconds": 1, "MaxAttempts": 1}
        admin("PUT", f"/_states/machines/{self.id}", {"second_ms": 20})
        machine = self.machine({"Job": self.task("true", Retry=[again], End=True)})
        self.assertEqual(self.execution_ends(self.start(machine))["status"], "SUCCEEDED")

    def test_an_unknown_fault_is_refused(self):
        with self.assertRaises(OSError):
            admin("POST", "/_fault", {"with": self.id, "kind": "gremlins"})


if __name__ == "__main__":
    unittest.main()
