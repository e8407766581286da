from metaflow import FlowSpec, exit_hook, step
def tell():
    print("done")


def tell_run(run):
    print(run)


@exit_hook(on_success=[tell], on_error=[tell_run, "tell"])
@exit_hook(on_error=["shared.TIMES"])
class ExitHooks(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    ExitHooks()
