"""The names that the standard itself lists.

`tg263_names.txt` has the primary names of the nomenclature worksheet of AAPM TG-263 (15 August 2017), without those
that stand for a pattern (`SpinalCord_PRVxx`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files


def listed_name(name: str) -> str:
    """The name of the standard that `name` is; empty where it is none.

    Case, spaces and underscores do not count, nor hyphens where they stand for them (`Femur-Head-L`, but
    `Lungs-GTV`, which is the lungs without the tumour). The standard's reverse order is read too (`L_Femur_Head`).
    """
    known = _by_key()
    keys = (name.strip().lower(), _key(name), _key(name).replace("-", ""))
    return next((known[key] for key in keys if key in known), "")


@lru_cache(maxsize=1)
def standard_names() -> tuple[str, ...]:
    """Every listed name, sorted."""
    text = (files("rtpipeline.structures") / "tg263_names.txt").read_text(encoding="utf-8")
    return tuple(text.split())


@lru_cache(maxsize=1)
def _by_key() -> dict[str, str]:
    reverse = {_key("".join(reversed(name.split("_")))): name for name in standard_names()}
    plain = {_key(name): name for name in standard_names()}
    return {**reverse, **plain, **{name.lower(): name for name in standard_names()}}


def _key(name: str) -> str:
    return re.sub(r"[\s_]+", "", name.lower())
