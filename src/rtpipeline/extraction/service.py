"""The radiomics subprocess: `python -m rtpipeline.extraction.service`, driven by `rtpipeline.radiomics_parallel`.

Requests, by `request`:
    `identity` → versions and source digest of this side.
    `parameters` with `file` → the parameter file, validated by PyRadiomics, with its defaults filled in.
    `extract` with `job` and `timeout_s` → the result, when it is there.
    `workers` → process ids of the `starting`, the `busy` and the `idle` workers.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from pathlib import Path

from rtpipeline.extraction.identity import identity
from rtpipeline.extraction.jobs import ExtractionJob, JobResult
from rtpipeline.extraction.parameter_file import read_parameters
from rtpipeline.extraction.pool import WorkerPool
from rtpipeline.scheduling.worker_process import Message, serve


class Service:
    """Answers requests with one pool."""

    def __init__(self) -> None:
        self._pool = WorkerPool()

    def handle(self, request: Message) -> Message | Future[Message]:
        """Answer one request; see the module."""
        name = request["request"]
        if name == "extract":
            return self._extract(ExtractionJob.from_message(request["job"]), request["timeout_s"])
        if name == "parameters":
            return read_parameters(Path(request["file"]))
        if name == "workers":
            return dict(self._pool.pids())
        if name == "identity":
            return dict(identity())
        raise ValueError(f"unknown request {name!r}")

    def _extract(self, job: ExtractionJob, timeout_s: float | None) -> Future[Message]:
        reply: Future[Message] = Future()

        def answer(done: Future[JobResult]) -> None:
            error = done.exception()
            if error is None:
                reply.set_result(done.result().as_message())
            else:
                reply.set_exception(error)

        self._pool.submit(job, timeout_s).add_done_callback(answer)
        return reply


if __name__ == "__main__":
    for library in ("radiomics", "pykwalify"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # what they say is in the errors that they raise
    serve(Service().handle)
