import shared
from helpers import HALF
from helpers.numbers import DEEP as deep
from metaflow import FlowSpec, Parameter, environment, retry, schedule, step
from shared import CRON as when, VARS


@schedule(cron=when)
class ConstantsBeside(FlowSpec):
    half = Parameter("half", default=HALF)
    ten = Parameter("ten", default=deep["a"]["b"][0])
    name = Parameter("name_", default=shared.NAMES[0])

    @retry(times=shared.TIMES)
    @environment(vars=VARS)
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ConstantsBeside()
