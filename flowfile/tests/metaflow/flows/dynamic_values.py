import os

from metaflow import FlowSpec, environment, retry, schedule, step

TIMES = int(os.environ.get("TIMES_THAT_NOBODY_SETS", "1"))
if os.path.exists("/"):
    CRON = "0 1 * * ? *"
else:
    CRON = "0 2 * * ? *"


@schedule(cron=CRON)
class DynamicValues(FlowSpec):
    @retry(times=TIMES)
    @environment(vars={"HOME_OF": os.getenv("NOBODY_SETS_THIS", "nobody")})
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    DynamicValues()
