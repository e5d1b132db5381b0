"""Random numbers that depend on what they are for, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np


def random_for(base_seed: int, *parts: str) -> np.random.Generator:
    """A generator whose numbers depend on `base_seed` and on the texts `parts` alone.

    The texts are hashed (SHA-256) with their lengths, so that neither the order of courses nor Python's salted `hash`
    matters, and ("ab", "c") differs from ("a", "bc").
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    words = np.frombuffer(digest.digest(), dtype=">u4").astype(np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([base_seed & (2**64 - 1), *words.tolist()])))
