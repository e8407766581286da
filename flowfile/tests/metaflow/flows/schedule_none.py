from metaflow import FlowSpec, schedule, step


@schedule(cron=None, hourly=True)
class ScheduleNone(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleNone()
