"""A child process for tests: answers, prints, raises, hangs or dies as it is told."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from rtpipeline.scheduling.worker_process import serve

EXECUTOR = ThreadPoolExecutor(4)
BARRIER = threading.Barrier(4)


def meet(patience_s):
    return {"met": BARRIER.wait(patience_s)}


def handle(request):
    if "print" in request:
        print(request["print"])  # noqa: T201
    if "stderr" in request:
        sys.stderr.write(request["stderr"] + "\n")
    if "raise" in request:
        raise ValueError(request["raise"])
    if "exit" in request:
        os._exit(request["exit"])
    if "variables" in request:
        return {name: os.environ.get(name) for name in request["variables"]}
    if "grandchild" in request:
        return {"pid": subprocess.Popen(["sleep", "600"]).pid}
    if "meet" in request:
        return EXECUTOR.submit(meet, request["meet"])
    time.sleep(request.get("sleep", 0))
    return {"echo": request, "pid": os.getpid()}


if __name__ == "__main__":
    serve(handle)
