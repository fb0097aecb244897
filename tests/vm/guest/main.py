"""Runs the cases of one run, and writes a line of JSON for each: its name, and what went wrong."""
import importlib
import json
import os
import sys
import time
import traceback

import servers

RUN = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] else "tls"


def main():
    os.makedirs(servers.WORK, exist_ok=True)
    module = importlib.import_module(RUN)
    for case in module.cases:
        before = time.monotonic()
        problem = None
        try:
            case()
        except Exception:  # pylint: disable=broad-except
            problem = traceback.format_exc() + module.logs()
        print(json.dumps({"case": case.__name__, "problem": problem, "seconds": round(time.monotonic() - before, 2)}),
              flush=True)


main()
