from metaflow import FlowSpec, schedule, step


@schedule(cron="0 9 * * MON-FRI *")
class ScheduleWeekdayPlain(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleWeekdayPlain()
