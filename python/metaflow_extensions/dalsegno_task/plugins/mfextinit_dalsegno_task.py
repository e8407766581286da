"""What Metaflow finds when this folder is on PYTHONPATH: one step decorator, one command, its service of metadata with
patience, stand-ins on request."""
import os

CLIS_DESC = [("dalsegno-task", ".cli.cli")]
STEP_DECORATORS_DESC = [("dalsegno_internal", ".decorator.DalsegnoInternalDecorator")]
FLOW_DECORATORS_DESC = []
METADATA_PROVIDERS_DESC = [("service", ".metadata.SpooledServiceProvider")]

# Decorators that ask for a place to run. Named here, they do nothing and the step runs where the task runs.
_STEP = ("batch", "kubernetes", "conda", "pypi")
_FLOW = ("conda_base", "pypi_base")
_asked = {name.strip() for name in os.environ.get("DALSEGNO_IGNORED_DECORATORS", "").split(",")}
_asked |= {base for base in _FLOW if base.split("_")[0] in _asked}
STEP_DECORATORS_DESC += [(name, ".ignored.%sIgnored" % name.title()) for name in _STEP if name in _asked]
FLOW_DECORATORS_DESC += [(name, ".ignored.%sIgnored" % name.title()) for name in _FLOW if name in _asked]
