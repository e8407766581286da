from metaflow import FlowSpec, retry, schedule, step

nightly = schedule(cron="0 2 * * ? *")
patient = retry(times=3, minutes_between_retries=5)


@nightly
class NamedDecorators(FlowSpec):
    @patient
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    NamedDecorators()
