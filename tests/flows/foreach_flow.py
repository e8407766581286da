from metaflow import FlowSpec, step


class ForeachFlow(FlowSpec):
    """Three levels of foreach, each as wide as its item says; a text is a list of letters."""

    @step
    def start(self):
        self.outer = ["a", "bc"]
        self.next(self.word, foreach="outer")

    @step
    def word(self):
        self.letters = self.input
        self.next(self.letter, foreach="letters")

    @step
    def letter(self):
        self.mine = f"{self.input}{self.index}"
        self.twice = [1, 2]
        self.next(self.copy, foreach="twice")

    @step
    def copy(self):
        self.path = [frame.index for frame in self._foreach_stack]
        self.text = self.mine * self.input
        self.next(self.copies)

    @step
    def copies(self, inputs):
        self.texts = [each.text for each in inputs]
        self.next(self.letters_done)

    @step
    def letters_done(self, inputs):
        self.texts = [each.texts for each in inputs]
        self.next(self.words_done)

    @step
    def words_done(self, inputs):
        self.texts = [each.texts for each in inputs]
        self.next(self.end)

    @step
    def end(self):
        print(self.texts)


if __name__ == "__main__":
    ForeachFlow()
