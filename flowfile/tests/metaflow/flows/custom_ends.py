from metaflow import FlowSpec, step


class CustomEnds(FlowSpec):
    @step(start=True)
    def begin(self):
        self.next(self.finish)

    @step(end=True)
    def finish(self):
        pass


if __name__ == "__main__":
    CustomEnds()
