# metaflow.unknown_attribute
from metaflow import FlowSpec, schedule, step


@schedule(corn='0 0 * * *')
class ScheduleAttribute(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleAttribute()
