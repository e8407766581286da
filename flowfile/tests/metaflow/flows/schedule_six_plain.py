from metaflow import FlowSpec, schedule, step


@schedule(cron="58 * * * * *")
class ScheduleSixPlain(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleSixPlain()
