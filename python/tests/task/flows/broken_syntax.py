from metaflow import FlowSpec

class BrokenSyntax(FlowSpec)
    pass
