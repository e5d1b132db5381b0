"""Standard names of structures, after the report of AAPM Task Group 263 (doi:10.1016/j.ijrobp.2017.12.013).

A name goes into tables only where a rule is certain; an empty text is better than a wrong organ. What is likely or
possible is proposed by `rtpipeline rois`, for a person to decide.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from rtpipeline.structures.name_mapping import NameRule
from rtpipeline.structures.numbered import bone, target, with_prv, without_prv
from rtpipeline.structures.standard_list import listed_name
from rtpipeline.structures.vocabulary import STANDARD, Match, all_words, matches, spellings

Confidence = Literal["certain", "likely", "possible", "none"]

_DRAWN_BY = (
    "auto",
    "automatic",
    "manual",
    "man",
    "ai",
    "dl",
    "ts",
    "ct",
    "mr",
    "mri",
    "oar",
    "organ",
    "roi",
    "contour",
)
_VERSIONS = ("final", "new", "old", "copy", "edit", "edited", "v")
_QUALIFIERS = frozenset((*_DRAWN_BY, *_VERSIONS))
"""Words that say how or where an organ was drawn, not which one it is."""
_SIGNS_OF_ANOTHER_STRUCTURE = {
    "+": "made of several structures, or with a margin",
    "&": "made of several structures",
    "~": "a part of a structure",
    "!": "a target without others",
}
"""What signs mean, by TG-263 (`Lung~_L`, `PTV!`) or custom."""
_SIMILARITY = 0.87
_SHORTEST_MISSPELLING = 6


@dataclass(frozen=True)
class NameProposal:
    """What a drawn name may stand for.

    Attributes:
        standard_name: TG-263 name; empty where there is none.
        confidence: `certain` ones go into tables; `likely` and `possible` ones are for a person to decide.
        reason: why, in a few words.
    """

    standard_name: str
    confidence: Confidence
    reason: str


def token(name: str) -> str:
    """What names are compared by: without regard to case, spaces, hyphens and underscores.

    Other signs count: `PTV+5` is not `PTV5`, and `Lung~_L` is a part of `Lung_L`.
    """
    lower = unicodedata.normalize("NFC", name).lower()
    return re.sub(r"[\s_-]+", "", lower) or lower


def standard_name(roi_name: str, rules: Sequence[NameRule] = ()) -> str:
    """The TG-263 name of a structure, or an empty text where no rule is certain (see `propose`)."""
    proposal = propose(roi_name, rules)
    return proposal.standard_name if proposal.confidence == "certain" else ""


def propose(roi_name: str, rules: Sequence[NameRule] = ()) -> NameProposal:
    """The TG-263 name that a drawn name may stand for.

    The user's rules come first, in their order. Then: targets with their number and dose level (`ptv1 54Gy` →
    `PTV1_5400`, in cGy; two digits without a unit are Gy), vertebrae, ribs, and a vocabulary of organs in several
    languages, with side (`Lung-Left`, `Poumon G` → `Lung_L`), plurals (`kidneys` → `Kidneys`) and planning risk volumes
    (`Cord PRV 5mm` → `SpinalCord_PRV05`); and every name of the standard's own list.
    """
    name = roi_name.strip().lower()
    for rule in rules:
        if name == rule.pattern.lower() if rule.exact else fnmatchcase(name, rule.pattern.lower()):
            return NameProposal(rule.standard_name, "certain", f"your mapping of {rule.pattern!r}")
    return _by_rules(roi_name)


@lru_cache(maxsize=4096)
def _by_rules(roi_name: str) -> NameProposal:
    if signs := [sign for sign in roi_name if sign in _SIGNS_OF_ANOTHER_STRUCTURE]:
        return NameProposal("", "none", _SIGNS_OF_ANOTHER_STRUCTURE[signs[0]])
    plain = re.sub(r"[^a-z0-9.,]+", " ", roi_name.lower()).strip()
    variants = spellings(roi_name)
    found = target(plain) or next(filter(None, (bone(" ".join(words)) for words in variants)), None)
    if found is not None:
        name, certain, reason = found
        return NameProposal(name, "certain" if certain else "likely", reason)
    listed = listed_name(roi_name)
    if listed:
        return NameProposal(listed, "certain", "a name of the standard")
    for propose_organ in (_organ, _qualified_organ, _misspelt_organ):
        proposals = [proposal for words in variants if (proposal := propose_organ(words)) is not None]
        if proposals:
            return proposals[0]
    return NameProposal("", "none", "no rule knows this name")


def _organ(words: Sequence[str]) -> NameProposal | None:
    """The organ that these words are, all of them."""
    text, suffix = without_prv(" ".join(words))
    found = matches(text.split())
    names = {match.standard_name for match in found}
    if len(names) > 1:
        return NameProposal("", "none", f"may be {' or '.join(sorted(filter(None, names)) or ['several organs'])}")
    if not names:
        return None
    name = next(iter(names))
    if name:
        reason = _reason(found[0]) + (", planning risk volume" if suffix else "")
        return NameProposal(with_prv(name, suffix), "certain", reason)
    entry = found[0].entry
    if entry.kind == "pair":
        return NameProposal("", "none", f"{entry.standard_name} without a side: left, right or both")
    return NameProposal("", "none", f"{entry.standard_name} has no sides")


def _qualified_organ(words: Sequence[str]) -> NameProposal | None:
    """An organ with words beside it that do not change which one it is."""
    kept = [word for word in words if word not in _QUALIFIERS and not word.isdigit()]
    dropped = [word for word in words if word not in kept]
    proposal = _organ(kept) if dropped and kept else None
    if proposal is None or not proposal.standard_name:
        return proposal
    return NameProposal(proposal.standard_name, "likely", f"{proposal.reason}; without {' '.join(dropped)!r}")


def _misspelt_organ(words: Sequence[str]) -> NameProposal | None:
    """An organ one of whose words is nearly that of the vocabulary."""
    known = all_words()
    corrected = []
    for word in words:
        long = len(word) >= _SHORTEST_MISSPELLING and word not in known
        near = get_close_matches(word, sorted(known), n=1, cutoff=_SIMILARITY) if long else []
        corrected.append(near[0] if near else word)
    if corrected == list(words):
        return None
    proposal = _organ(corrected) or _qualified_organ(corrected)
    if proposal is None or not proposal.standard_name:
        return None
    return NameProposal(proposal.standard_name, "possible", f"looks like {' '.join(corrected)!r}")


def _reason(match: Match) -> str:
    side = {"L": ", left", "R": ", right", "": ""}[match.side]
    word = " ".join(match.entry.words)
    if match.entry.language == STANDARD:
        return f"a name of the standard{side}"
    return f"{match.entry.language.capitalize()} {word!r}{side}"
