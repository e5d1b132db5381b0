"""How many threads the products of large arrays take in this process."""

from __future__ import annotations

import contextlib

from threadpoolctl import threadpool_limits


def one_blas_thread() -> contextlib.AbstractContextManager[object]:
    """BLAS in one thread while the block runs: others would hold no token, and their number can change last bits."""
    return threadpool_limits(limits=1, user_api="blas")
