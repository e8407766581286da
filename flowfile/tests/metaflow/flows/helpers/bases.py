from metaflow import FlowSpec, Parameter, project, retry, schedule, step

from .numbers import DEEP


@project(name="packaged")
@schedule(cron="5 4 * * ? *")
class PackagedBase(FlowSpec):
    depth = Parameter("depth", default=DEEP["a"]["b"][1])

    @retry(times=1, minutes_between_retries=0)
    @step
    def start(self):
        self.next(self.middle)

    @step
    def end(self):
        pass
