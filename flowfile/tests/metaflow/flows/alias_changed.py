from metaflow import FlowSpec, schedule, step

WHEN = {"cron": "0 1 * * ? *"}
LATER = WHEN
LATER["cron"] = "0 2 * * ? *"


@schedule(**WHEN)
class AliasChanged(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    AliasChanged()
