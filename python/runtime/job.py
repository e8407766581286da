"""Runs one attempt of a Metaflow task on a machine that knows nothing of it: `python -u job.py FOLDER`.

FOLDER is where the package was unpacked: `code/` is the flow's, `ext/` ours. The order comes by DALSEGNO_ORDER, or lies
in S3 at DALSEGNO_ORDER_AT; what there is to tell afterwards goes to DALSEGNO_ANSWER.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != HERE]
sys.path.append(HERE)

from dalsegno_runtime import elsewhere  # noqa: E402

sys.exit(elsewhere.main(os.path.abspath(sys.argv[1])))
