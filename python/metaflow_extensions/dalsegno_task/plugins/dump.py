"""Everything a flow declares, after Metaflow has run its configs, mutators and deploy-time functions."""
import hashlib
import json
import os

from metaflow import current
from metaflow.includefile import IncludeFile
from metaflow.metaflow_version import get_version
from metaflow.parameters import DelayedEvaluationParameter, DeployTimeField, JSONTypeClass
from metaflow.util import to_pod


def dump(obj):
    flow, graph = obj.flow, obj.graph
    obj.check(graph, flow, obj.environment, pylint=False)
    decorators = [deco for deco in _flow_decorators(flow) if not deco.name.startswith("_")]
    for deco in decorators:
        if hasattr(deco, "format_deploytime_value"):
            deco.format_deploytime_value()
    return {
        "version": 1,
        "metaflow_version": get_version(),
        "flow": flow.name,
        "doc": graph.doc or "",
        "start": getattr(graph, "start_step", None) or "start",
        "end": getattr(graph, "end_step", None) or "end",
        "project": _project(),
        "decorators": [_flow_decorator(deco) for deco in decorators],
        "parameters": [
            _parameter(var, parameter)
            for var, parameter in flow._get_parameters()
            if not getattr(parameter, "IS_CONFIG_PARAMETER", False)
        ],
        "configs": _configs(obj),
        "config_files": _config_files(obj),
        "steps": {node.name: _step(node, steps_of(graph)[node.name]) for node in graph},
        "exit_hooks": {
            "on_success": [name for deco in decorators for name in getattr(deco, "success_hooks", [])],
            "on_error": [name for deco in decorators for name in getattr(deco, "error_hooks", [])],
        },
    }


def steps_of(graph):
    """Metaflow's own description of the steps; a recursive step of some versions is not reached by it."""
    steps, _ = graph.output_steps()
    for node in graph:
        steps.setdefault(node.name, {"name": node.name, "type": node.type, "line": node.func_lineno, "doc": node.doc,
                                     "decorators": [], "next": list(node.out_funcs)})
    return steps


def _flow_decorators(flow):
    from metaflow.decorators import flow_decorators

    try:
        return list(flow_decorators(flow))
    except TypeError:  # before 2.13
        return list(flow_decorators())


def _project():
    if not current.get("project_name"):
        return None
    names = ("project_name", "branch_name", "is_user_branch", "is_production", "project_flow_name")
    return {name: current.get(name) for name in names}


def _flow_decorator(deco):
    found = {"name": deco.name, "attributes": _plain(deco.attributes)}
    if deco.name == "schedule":
        found["schedule"] = getattr(deco, "schedule", None)
        found["timezone"] = getattr(deco, "timezone", None) or deco.attributes.get("timezone")
    if hasattr(deco, "triggers"):
        found["triggers"] = _plain(deco.triggers)
        found["options"] = _plain(getattr(deco, "options", None) or deco.attributes.get("options"))
    return found


def _parameter(var, parameter):
    options = parameter.kwargs
    kind = options.get("type")
    found = {
        "var": var,
        "name": parameter.name,
        "type": _type_name(parameter, kind),
        "required": bool(options.get("required")),
        "default": _default(parameter, kind),
        "help": options.get("help"),
    }
    if options.get("multiple"):
        found["multiple"] = True
    if getattr(parameter, "separator", None):
        found["separator"] = parameter.separator
    if isinstance(options.get("default"), DeployTimeField) and not isinstance(parameter, IncludeFile):
        found["deploy_time"] = True
    return found


def _type_name(parameter, kind):
    if isinstance(parameter, IncludeFile):
        return "FilePath"
    if isinstance(kind, JSONTypeClass):
        return "JSON"
    return getattr(kind, "__name__", None) or getattr(kind, "name", None)


def _default(parameter, kind):
    default = parameter.kwargs.get("default")
    if isinstance(parameter, IncludeFile):
        # The path: reading and storing the file is for the run that uses it.
        while isinstance(default, DeployTimeField):
            default = default(deploy_time=False)
        return default
    if isinstance(default, DeployTimeField):
        default = default(deploy_time=True)
        if isinstance(default, str) and kind in (int, float):
            default = kind(default)
        elif isinstance(default, str) and kind is bool:
            default = default.lower() in ("true", "1", "yes", "on")
    elif isinstance(default, DelayedEvaluationParameter):
        default = default(return_str=True)
    if isinstance(kind, JSONTypeClass) and isinstance(default, str):
        default = json.loads(default)
    return _plain(default)


def _configs(obj):
    """Values as `METAFLOW_FLOW_CONFIG_VALUE` takes them: for a config with a parser that is the text it parses."""
    values = getattr(obj, "config_options", None) or {}
    texts = _config_texts(obj, values)
    found = {}
    for name, value in values.items():
        if value is None:
            continue
        value = value.to_dict() if hasattr(value, "to_dict") else value
        found[name] = texts.get(name, value)
    return found


def _config_files(obj):
    """The files that configs have by default, with the SHA-256 of each; null for one that cannot be read."""
    reader = _config_reader()
    if reader is None:
        return {}
    found = {}
    for name, (default, is_path) in (getattr(reader, "_defaults", None) or {}).items():
        if not is_path or name in (reader._path_values or {}) or name in (reader._value_values or {}):
            continue
        path = _config_default(obj, name, default)
        if not isinstance(path, (str, os.PathLike)):
            continue
        path = os.path.abspath(path)
        try:
            with open(path, "rb") as file:
                found[path] = hashlib.sha256(file.read()).hexdigest()
        except OSError:
            found[path] = None
    return found


def _config_reader():
    """What Metaflow has read the configs with; it alone knows where they came from."""
    from metaflow._vendor import click

    for option in click.get_current_context().find_root().command.params:
        owner = getattr(getattr(option, "callback", None), "__self__", None)
        if type(owner).__name__ == "ConfigInput":
            return owner
    return None


def _config_default(obj, name, default):
    """A default, after its function was called if it is one."""
    if not isinstance(default, DeployTimeField):
        return default
    from metaflow.parameters import ParameterContext
    from metaflow.util import get_username

    return default.fun(ParameterContext(
        flow_name=obj.flow.name, user_name=get_username(), parameter_name=name,
        logger=lambda *_, **__: None, ds_type=obj.flow_datastore.TYPE, configs=None,
    ))


def _config_texts(obj, values):
    """The unparsed text of each config that has a parser: Metaflow parses again in every task."""
    reader = _config_reader()
    if reader is None:
        return {}
    from metaflow.user_configs import config_options as module

    given = dict(reader._path_values or {})
    given.update(reader._value_values or {})
    texts = {}
    for name in values:
        parser = reader._parsers.get(name)
        parser, plain = parser if isinstance(parser, tuple) else (parser, False)
        if not parser and not plain:
            continue
        text = given.get(name)
        if text is None:
            default, is_path = reader._defaults[name]
            default = _config_default(obj, name, default)
            convert = module.ConvertPath if is_path else module.ConvertDictOrStr
            text = convert.convert_value(default, True)
        if text is None:
            continue
        for prefix in (module._CONVERT_PREFIX, module._DEFAULT_PREFIX):
            text = text[len(prefix):] if text.startswith(prefix) else text
        if not text.startswith("kv."):
            texts[name] = text
    return texts


def _step(node, described):
    user_retries = error_retries = 0
    for deco in node.decorators:
        user, error = deco.step_task_retry_count()
        # What Metaflow itself does: None means that the decorator forbids retries.
        if user is None or error is None:
            user_retries = error_retries = 0
            break
        user_retries, error_retries = max(user_retries, user), max(error_retries, error)
    described = dict(described)
    described.pop("name", None)
    cases = {str(case): step for case, step in (node.switch_cases or {}).items()} if hasattr(node, "switch_cases") else {}
    described.update({
        "decorators": [_plain(deco) for deco in described.get("decorators", [])],
        "foreach_artifact": node.foreach_param,
        "condition": getattr(node, "condition", None),
        "switch_cases": cases or None,
        "matching_join": node.matching_join,
        "in_funcs": sorted(node.in_funcs),
        "split_parents": list(node.split_parents),
        "inside_foreach": bool(node.is_inside_foreach),
        "parallel_step": bool(getattr(node, "parallel_step", False)),
        "user_code_retries": user_retries,
        "error_retries": error_retries,
    })
    if getattr(node, "parallel_foreach", False):
        described["num_parallel"] = node.num_parallel or None
    return described


def _plain(value):
    """As JSON can say it; functions and classes become their names."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in (sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value)]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    if callable(value):
        return getattr(value, "__name__", repr(value))
    return to_pod(value)
