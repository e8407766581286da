from metaflow import FlowSpec, schedule, step


@schedule(cron="30 23 L * ? *", timezone="America/New_York")
class ScheduleLastDay(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleLastDay()
