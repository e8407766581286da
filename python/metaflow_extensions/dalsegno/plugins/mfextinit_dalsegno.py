"""What Metaflow finds when `metaflow-dalsegno` is installed: a command and a deployer."""

import os
import sys

CLIS_DESC = [("dalsegno", ".dalsegno.cli.cli")]
DEPLOYER_IMPL_PROVIDERS_DESC = [("dalsegno", ".dalsegno.deployer.DalsegnoDeployer")]
STEP_DECORATORS_DESC = []
FLOW_DECORATORS_DESC = []

# Decorators that name a place to run. Dalsegno runs steps itself, so its commands do without that place; in all of
# Metaflow's own commands they stay what they are.
_STEP = {"batch": "Batch", "kubernetes": "Kubernetes", "conda": "Conda", "pypi": "Pypi"}
_FLOW = {"conda_base": "Conda_Base", "pypi_base": "Pypi_Base"}

# Commands that these decorators mean something to.
_OTHERS = {
    "run", "resume", "init", "step", "spin", "spin-step",
    "airflow", "argo-workflows", "batch", "kubernetes", "step-functions",
}


def _is_ours(argv):
    """Whether `dalsegno` is the command, and not the value of some option of another one."""
    return next((word for word in argv if word == "dalsegno" or word in _OTHERS), None) == "dalsegno"


if _is_ours(sys.argv[1:]):
    _named = {name.strip() for name in os.environ.get("DALSEGNO_IGNORED_DECORATORS", "").split(",")}
    _ignored = {"batch", "kubernetes"} | _named
    _ignored |= {name for name in _FLOW if name.split("_")[0] in _ignored}
    for _known, _into in ((_STEP, STEP_DECORATORS_DESC), (_FLOW, FLOW_DECORATORS_DESC)):
        _into += [(name, ".dalsegno.task.ignored.%sIgnored" % _known[name]) for name in sorted(_ignored & set(_known))]
