"""Saves the logs of one attempt: `python savelogs.py REQUEST STDOUT STDERR`. Started by run.py."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
sys.path.append(HERE)

from dalsegno_runtime import logs  # noqa: E402
from dalsegno_runtime.flow_name import flow_name  # noqa: E402
from dalsegno_runtime.request import Request  # noqa: E402

_request = Request(sys.argv[1])
logs.save(_request, flow_name(_request), sys.argv[2], sys.argv[3])
