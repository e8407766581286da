from metaflow import FlowSpec, checkpoint, retry, step


class Checkpoints(FlowSpec):
    @step
    def start(self):
        self.next(self.train)

    @checkpoint(load_policy="fresh")
    @retry(times=2)
    @step
    def train(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Checkpoints()
