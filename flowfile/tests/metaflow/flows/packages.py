from metaflow import FlowSpec, conda, conda_base, pypi, step


@conda_base(python="3.11", packages={"numpy": "1.26"})
class Packages(FlowSpec):
    @pypi(packages={"pandas": "2.1"})
    @step
    def start(self):
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass


if __name__ == "__main__":
    Packages()
