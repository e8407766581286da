from metaflow import FlowSpec, batch, kubernetes, retry, step


class Elsewhere(FlowSpec):
    @batch(cpu=4, memory=1000, queue='q')
    @step
    def start(self):
        self.next(self.a)

    @kubernetes(cpu=2)
    @retry(times=1)
    @step
    def a(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Elsewhere()
