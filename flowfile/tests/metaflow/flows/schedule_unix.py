from metaflow import FlowSpec, schedule, step


@schedule(cron="*/15 8-18 * * 1-5", timezone="Europe/Berlin")
class ScheduleUnix(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleUnix()
