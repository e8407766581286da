from metaflow import FlowSpec, environment, retry, step


def prod(function):
    return environment(vars={"MODE": "prod"})(retry(times=2)(function))


class OwnDecorators(FlowSpec):
    @prod
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    OwnDecorators()
