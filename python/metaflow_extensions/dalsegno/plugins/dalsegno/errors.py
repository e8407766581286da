"""What can go wrong between Metaflow and the daemon, as Metaflow shows errors: a headline and a text with the cure."""

from metaflow.exception import MetaflowException


class DalsegnoError(MetaflowException):
    headline = "Dalsegno"


class NotReachable(DalsegnoError):
    headline = "Dalsegno does not answer"

    def __init__(self, url, why):
        super().__init__(
            "Nothing answers at %s (%s).\n"
            "Start a daemon with `dalsegno up`, or name the one you mean in DALSEGNO_URL." % (url, why)
        )


class Refused(DalsegnoError):
    """The daemon said no, and why: a problem of RFC 9457."""

    def __init__(self, problem):
        self.status = problem.get("status")
        self.code = problem.get("code")
        super().__init__(sentence(problem))


class NotStarted(DalsegnoError):
    headline = "The run was not started"


def sentence(problem):
    """`title: detail`, with one line below for each single finding."""
    said = [problem[name] for name in ("title", "detail") if problem.get(name)]
    lines = [": ".join(said) or "the daemon gave no reason"]
    lines += ["  " + finding(it) for it in problem.get("errors") or []]
    if problem.get("did_you_mean"):
        lines.append("  Did you mean `%s`?" % problem["did_you_mean"])
    if problem.get("status") == 401:
        lines.append("  Give the daemon's token in DALSEGNO_TOKEN.")
    return "\n".join(lines)


def finding(it):
    """One finding: about a parameter (`name`, `message`) or a place in a file (`line`, `message`, `help`)."""
    if not isinstance(it, dict):
        return str(it)
    place = it.get("name") or (it.get("line") and "line %s" % it["line"])
    text = it.get("message") or it.get("detail") or str(it)
    cure = " (%s)" % it["help"] if it.get("help") else ""
    return "%s%s%s" % ("%s: " % place if place else "", text, cure)
