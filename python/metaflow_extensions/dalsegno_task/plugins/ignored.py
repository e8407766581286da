"""Stand-ins for decorators that name a place to run: they take every attribute and do nothing."""
from metaflow.decorators import FlowDecorator, StepDecorator


class _AnyAttribute(dict):
    """Defaults of a decorator that knows every attribute, as Metaflow checks them with `in`."""

    def __contains__(self, key):
        return True

    def copy(self):
        return _AnyAttribute(self)


class BatchIgnored(StepDecorator):
    name = "batch"
    defaults = _AnyAttribute()


class KubernetesIgnored(StepDecorator):
    name = "kubernetes"
    defaults = _AnyAttribute()


class CondaIgnored(StepDecorator):
    name = "conda"
    defaults = _AnyAttribute()


class PypiIgnored(StepDecorator):
    name = "pypi"
    defaults = _AnyAttribute()


class Conda_BaseIgnored(FlowDecorator):
    name = "conda_base"
    defaults = _AnyAttribute()


class Pypi_BaseIgnored(FlowDecorator):
    name = "pypi_base"
    defaults = _AnyAttribute()
