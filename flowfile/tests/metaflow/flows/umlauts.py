# -*- coding: utf-8 -*-
"""Größe und Maß."""
from metaflow import FlowSpec, Parameter, step


class Umlauts(FlowSpec):
    """Rechnet mit Größen: naïve, 東京.

    Mehr steht hier nicht.
    """

    größe = Parameter("size", default="groß", help="Wie groß – ungefähr")

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Umlauts()
