"""The first Metaflow flow: steps one after another, a parameter, a schedule.

    python hello_flow.py run --who Clara      Metaflow alone, as ever
    dalsegno run HelloFlow -p who=Clara       the same file, unchanged
"""

from metaflow import FlowSpec, Parameter, current, schedule, step


@schedule(cron="0 7 * * ? *", timezone="Europe/Berlin")  # Coda Coffee opens at seven
class HelloFlow(FlowSpec):
    """Says good morning to whoever comes in first."""

    who = Parameter("who", default="everybody", help="Who is greeted.")
    cups = Parameter("cups", default=1, help="How many cups of coffee come with it.")

    @step
    def start(self):
        print(f"the shop is open; this is run {current.run_id}")
        self.greeting = f"Good morning, {self.who}!"  # what is put on self is there in all later steps
        self.next(self.brew)

    @step
    def brew(self):
        self.coffee = ["espresso"] * self.cups
        self.next(self.end)

    @step
    def end(self):
        print(self.greeting, "Here you are:", ", ".join(self.coffee) or "nothing, as you wished")


if __name__ == "__main__":
    HelloFlow()
