"""Loops over cells and boundary pieces as machine code that runs beside other threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile `function` when it is first called; it holds no lock while it runs.

    The machine code is kept for the next process: in the folder that NUMBA_CACHE_DIR names, beside the source, or in
    the user's cache folder, whichever can be written; where none can, every process compiles for itself.
    """
    try:
        return cast(Function, numba.njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # no folder for the machine code
        return cast(Function, numba.njit(nogil=True, error_model="numpy")(function))
