"""The data of the Amazon States Language: paths, templates, intrinsic functions, choices. Pure: no clock, no I/O."""

import base64
import copy
import datetime
import fnmatch
import hashlib
import json
import re
import uuid

from moto.stepfunctions.parser.asl.utils.json_path import NoSuchJsonPathError, extract_json


class Failure(Exception):
    """An error that `Retry` and `Catch` know by its name."""

    def __init__(self, error, cause=""):
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


def runtime(cause):
    return Failure("States.Runtime", cause)


# Paths and templates ----------------------------------------------------------------------------------------------


def path(text, data, context):
    """What a path means, of the input or (`$$`) of the context."""
    if text is None:
        return {}
    if text.startswith("$$"):
        text, data = text[1:], context
    try:
        if NAMES.fullmatch(text):
            return {name: copy.deepcopy(data[name]) for name in re.findall("'([^']+)'", text) if name in data}
        return copy.deepcopy(walked(text, data) if SIMPLE.fullmatch(text) else extract_json(text, data))
    except (NoSuchJsonPathError, KeyError, IndexError, TypeError):
        raise runtime(f"The JSONPath '{text}' could not be found in the input '{json.dumps(data)}'") from None


# Several names in one pair of brackets give an object of them, as Metaflow's state machines rely on.
NAMES = re.compile(r"\$\.?\['[^']+'(?:\s*,\s*'[^']+')+\]")

# A path to one place, with a dot before brackets or none; its kin with wildcards and filters need a parser, which is slow.
STEP = re.compile(r"\.([\w-]+)|\.?\['([^']+)'\]|\.?\[(\d+)\]")
SIMPLE = re.compile(rf"\$(?:{STEP.pattern})*")


def walked(text, data):
    for field, quoted, index in STEP.findall(text):
        if index:
            data = data[int(index)] if isinstance(data, list) else data[None]
        else:
            data = data[field or quoted]
    return data


def value(text, data, context):
    """What stands behind a field that ends in `.$`."""
    if text.startswith("$"):
        return path(text, data, context)
    return Intrinsic(text, data, context).whole()


def template(payload, data, context):
    if isinstance(payload, dict):
        return {
            (key[:-2] if key.endswith(".$") else key): value(inner, data, context)
            if key.endswith(".$")
            else template(inner, data, context)
            for key, inner in payload.items()
        }
    if isinstance(payload, list):
        return [template(inner, data, context) for inner in payload]
    return payload


def put(data, where, result):
    """`ResultPath`."""
    if where is None:
        return data
    if where == "$":
        return result
    data = copy.deepcopy(data) if isinstance(data, dict) else {}
    inner, words = data, re.findall(r"\.([\w-]+)|\['([^']+)'\]", where[1:])
    words = [first or second for first, second in words]
    for word in words[:-1]:
        if not isinstance(inner.get(word), dict):
            inner[word] = {}
        inner = inner[word]
    inner[words[-1]] = result
    return data


class Intrinsic:
    """`States.Format('{}', $.a)` and its like."""

    TOKEN = re.compile(r"\s*(?:(States\.\w+)\s*\(|('(?:\\.|[^'\\])*')|(\$[^,)\s]*)|(-?\d+(?:\.\d+)?)|(true|false|null)|([,)]))")

    def __init__(self, text, data, context):
        self.text, self.data, self.context, self.at = text, data, context, 0

    def whole(self):
        result = self.one(self.token())
        if self.text[self.at :].strip():
            raise self.refused()
        return result

    def refused(self):
        return Failure("States.IntrinsicFailure", f"Invalid intrinsic function: {self.text}")

    def token(self):
        found = self.TOKEN.match(self.text, self.at)
        if not found:
            raise self.refused()
        self.at = found.end()
        return found

    def one(self, token):
        name, text, where, number, word, mark = token.groups()
        if name:
            arguments = []
            token = self.token()
            while token.group(6) != ")":
                if token.group(6) != ",":
                    arguments.append(self.one(token))
                token = self.token()
            return self.call(name, arguments)
        if text is not None:
            return re.sub(r"\\(.)", r"\1", text[1:-1]) if "\\" in text else text[1:-1]
        if where:
            return path(where, self.data, self.context)
        if number:
            return json.loads(number)
        if mark:
            raise self.refused()
        return json.loads(word)

    def call(self, name, arguments):
        function = FUNCTIONS.get(name)
        if function is None:
            raise self.refused()
        try:
            return function(*arguments)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise Failure("States.IntrinsicFailure", f"{name}: {error}") from None


def plain(it):
    return it if isinstance(it, str) else json.dumps(it, separators=(",", ":"))


def formatted(text, *arguments):
    pieces = text.split("{}")
    if len(pieces) != len(arguments) + 1:
        raise ValueError("the number of arguments is not that of the places")
    return pieces[0] + "".join(plain(one) + piece for one, piece in zip(arguments, pieces[1:]))


def unique(items):
    found = []
    for one in items:
        if one not in found:
            found.append(one)
    return found


FUNCTIONS = {
    "States.Format": formatted,
    "States.StringToJson": json.loads,
    "States.JsonToString": lambda it: json.dumps(it, separators=(",", ":")),
    "States.Array": lambda *items: list(items),
    "States.ArrayPartition": lambda items, size: [items[at : at + size] for at in range(0, len(items), size)],
    "States.ArrayContains": lambda items, one: one in items,
    "States.ArrayRange": lambda first, last, step: list(range(first, last + (1 if step > 0 else -1), step)),
    "States.ArrayGetItem": lambda items, at: items[at],
    "States.ArrayLength": len,
    "States.ArrayUnique": unique,
    "States.Base64Encode": lambda text: base64.b64encode(text.encode()).decode(),
    "States.Base64Decode": lambda text: base64.b64decode(text).decode(),
    "States.Hash": lambda it, how: hashlib.new(how.replace("-", "").lower(), plain(it).encode()).hexdigest(),
    "States.JsonMerge": lambda first, second, _deep: {**first, **second},
    "States.MathAdd": lambda first, second: first + second,
    "States.StringSplit": lambda text, by: [one for one in re.split(f"[{re.escape(by)}]", text) if one],
    "States.UUID": lambda: str(uuid.uuid4()),
}

# Choices ----------------------------------------------------------------------------------------------------------


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def is_moment(it):
    try:
        return isinstance(it, str) and moment(it) is not None
    except ValueError:
        return False


def is_number(it):
    return isinstance(it, (int, float)) and not isinstance(it, bool)


COMPARED = {
    "Equals": lambda a, b: a == b,
    "LessThan": lambda a, b: a < b,
    "GreaterThan": lambda a, b: a > b,
    "LessThanEquals": lambda a, b: a <= b,
    "GreaterThanEquals": lambda a, b: a >= b,
}
KINDS = {
    "String": (lambda it: isinstance(it, str), lambda it: it),
    "Numeric": (is_number, lambda it: it),
    "Boolean": (lambda it: isinstance(it, bool), lambda it: it),
    "Timestamp": (is_moment, moment),
}
ASKED = {
    "IsNull": lambda it: it is None,
    "IsString": lambda it: isinstance(it, str),
    "IsNumeric": is_number,
    "IsBoolean": lambda it: isinstance(it, bool),
    "IsTimestamp": is_moment,
}


def chosen(rule, data, context):
    """Whether a rule of a Choice holds."""
    if "And" in rule:
        return all(chosen(one, data, context) for one in rule["And"])
    if "Or" in rule:
        return any(chosen(one, data, context) for one in rule["Or"])
    if "Not" in rule:
        return not chosen(rule["Not"], data, context)
    if "IsPresent" in rule:
        try:
            path(rule["Variable"], data, context)
            return rule["IsPresent"]
        except Failure:
            return not rule["IsPresent"]
    found = path(rule["Variable"], data, context)
    for operator, wanted in rule.items():
        if operator in ("Variable", "Next", "Comment", "Assign"):
            continue
        if operator in ASKED:
            return ASKED[operator](found) == wanted
        if operator == "StringMatches":
            return isinstance(found, str) and fnmatch.fnmatchcase(found, re.sub(r"([\[?])", r"[\1]", wanted))
        if operator.endswith("Path"):
            operator, wanted = operator[:-4], path(wanted, data, context)
        kind = next(one for one in KINDS if operator.startswith(one))
        is_one, made = KINDS[kind]
        compare = COMPARED[operator[len(kind) :]]
        return is_one(found) and is_one(wanted) and compare(made(found), made(wanted))
    raise runtime("A choice has no comparison")
