from metaflow import FlowSpec, schedule, step


@schedule(hourly=True, weekly=True)
class ScheduleAll(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleAll()
