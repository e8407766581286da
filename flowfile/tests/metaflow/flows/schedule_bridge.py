from metaflow import FlowSpec, schedule, step


@schedule(cron="0 10 ? * MON#1 2026-2030")
class ScheduleBridge(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ScheduleBridge()
