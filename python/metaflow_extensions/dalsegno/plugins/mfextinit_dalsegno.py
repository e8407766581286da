"""What Metaflow finds when `metaflow-dalsegno` is installed: a command and a deployer."""

import os
import sys

CLIS_DESC = [("dalsegno", ".dalsegno.cli.cli")]
DEPLOYER_IMPL_PROVIDERS_DESC = [("dalsegno", ".dalsegno.deployer.DalsegnoDeployer")]
STEP_DECORATORS_DESC = []
FLOW_DECORATORS_DESC = []

# Decorators that name a place to run. Dalsegno runs steps itself, so a flow that has them can be deployed without
# that place; in all of Metaflow's own commands they stay what they are.
_STEP = {"batch": "Batch", "kubernetes": "Kubernetes", "conda": "Conda", "pypi": "Pypi"}
_FLOW = {"conda_base": "Conda_Base", "pypi_base": "Pypi_Base"}


def _deploys(argv):
    """Whether this process is `flow.py … dalsegno create` or `show`, and no other command whose options sound so."""
    if "dalsegno" not in argv:
        return False
    place = argv.index("dalsegno")
    own = {"run", "resume", "init", "step", "spin", "spin-step"}
    return not own & set(argv[:place]) and bool({"create", "show"} & set(argv[place + 1 :]))


if _deploys(sys.argv[1:]):
    _named = {name.strip() for name in os.environ.get("DALSEGNO_IGNORED_DECORATORS", "").split(",")}
    _ignored = {"batch", "kubernetes"} | _named
    _ignored |= {name for name in _FLOW if name.split("_")[0] in _ignored}
    for _known, _into in ((_STEP, STEP_DECORATORS_DESC), (_FLOW, FLOW_DECORATORS_DESC)):
        _into += [(name, ".dalsegno.task.ignored.%sIgnored" % _known[name]) for name in sorted(_ignored & set(_known))]
