from metaflow import step

from base_shared import SharedBase


class BaseBeside(SharedBase):
    @step
    def middle(self):
        self.next(self.end)


if __name__ == "__main__":
    BaseBeside()
