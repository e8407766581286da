from metaflow import FlowSpec, schedule, step


def standard(cls):
    return schedule(hourly=True)(cls)


@standard
class UnknownWrapper(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    UnknownWrapper()
