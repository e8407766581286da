from metaflow import FlowSpec, step


class MainFunction(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


def main():
    flow = MainFunction()
    return flow


if __name__ == "__main__":
    main()
