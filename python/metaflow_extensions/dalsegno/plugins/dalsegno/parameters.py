"""A flow's Parameters as options of a command that sends only what was given."""

import os

from metaflow._vendor import click
from metaflow.parameters import DelayedEvaluationParameter, current_flow


def options(needed):
    """Adds the flow's Parameters to a command, without their defaults: those are the deployed version's.

    `needed`: a Parameter that must be given is a must here, too.
    """

    def add(command):
        # Metaflow's Deployer puts these back: it reads commands of many flows in one process.
        command.original_params = list(command.params)
        for parameter in reversed(declared(getattr(current_flow, "flow_cls", None))):
            command.params.insert(0, option(parameter, needed))
        return command

    return add


def declared(flow):
    """Parameters but not Configs, which were settled when the flow was deployed."""
    found = [it for _, it in flow._get_parameters()] if flow else []
    return [it for it in found if not getattr(it, "IS_CONFIG_PARAMETER", False)]


def option(parameter, needed):
    declared = dict(parameter.kwargs)
    default = declared.pop("default", None)
    declared["required"] = bool(needed and declared.get("required") and default is None)
    declared["show_default"] = False
    if default is not None and isinstance(default, (str, int, float)):
        said = [declared.get("help"), "[default when deployed from this file: %s]" % default]
        declared["help"] = "  ".join(filter(None, said))
    return click.Option(("--" + parameter.name,), default=None, **declared)


def given(flow, values):
    """What was given, by the Parameters' own names, as JSON values."""
    said = {}
    for parameter in declared(type(flow)):
        value = values.get(parameter.name.replace("-", "_").lower())
        if value is None or value == ():
            continue
        if isinstance(value, DelayedEvaluationParameter):
            # A file: its content is stored now, and the run gets what it was when it was asked for.
            value = value(return_str=True)
        said[parameter.name] = list(value) if isinstance(value, tuple) else value
    return said


def named(known, values, files=()):
    """Python's keyword arguments by the Parameters' own names: `tag_name` may stand for `tag-name`.

    `files`: names of Parameters whose value is the path of a file, which the daemon has to find from where it is.
    """
    by_argument = {name.replace("-", "_").lower(): name for name in known}
    said = {by_argument.get(name.lower(), name): plain(value) for name, value in values.items()}
    return {name: os.path.abspath(value) if name in files and value else value for name, value in said.items()}


def plain(value):
    """Paths, tuples and Configs as JSON has them."""
    if isinstance(value, os.PathLike):
        return os.path.abspath(value)
    if isinstance(value, tuple):
        return list(value)
    return value.to_dict() if hasattr(value, "to_dict") else value
