from metaflow import FlowSpec, Parameter, environment, retry, schedule, step, timeout

HOUR = "6"
CRON = "0 " + HOUR + " * * ? *"
ZONES = {"eu": "Europe/Berlin", "us": ["America/New_York", "America/Chicago"]}
TIMES, MINUTES = 3, 1.0
STAGE: str = "prod"
VARS = {"TINY": f"{1e-7} {1e16} {2.50} {1e22}", "STAGE": STAGE, "NAME": f"{STAGE}-{HOUR}", "N": str(TIMES), **{"MORE": "yes"}}
LIMITS = dict(minutes=10, hours=1)
LIST = ["a"] + ["b", "c"]


@schedule(cron=CRON, timezone=ZONES["us"][-1])
class Constants(FlowSpec):
    COUNT = 5
    count = Parameter("count", default=COUNT)
    names = Parameter("names", default="x" + "," + "y", separator=",")
    first = Parameter("first", default=LIST[1])

    @retry(times=TIMES, minutes_between_retries=MINUTES)
    @environment(vars=VARS)
    @timeout(**LIMITS)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Constants()
