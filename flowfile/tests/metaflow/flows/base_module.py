import base_shared
from metaflow import retry, step


class BaseModule(base_shared.SharedBase):
    @retry
    @step
    def middle(self):
        self.next(self.end)


if __name__ == "__main__":
    BaseModule()
