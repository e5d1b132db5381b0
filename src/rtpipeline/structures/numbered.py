"""Standard names with numbers in them: targets with their level, vertebrae and ribs, planning risk volumes."""

from __future__ import annotations

import re

TARGET = re.compile(
    r"(i?gtv|i?ctv|itv|ptv) ?"
    r"(?:(p|n|m|sb|par|vas|primary|prim|nodes?|nodal|t|tumou?r|ln|high|mid|intermediate|low)(?![a-z]) ?)?"
    r"(?:([1-9])\b ?)?(?:(\d{1,5}(?:[.,]\d{1,2})?) ?(c?gy)?)?"
)
_CLASSIFIERS = {"p": "p", "primary": "p", "prim": "p", "n": "n", "node": "n", "nodes": "n", "nodal": "n"}
_CLASSIFIERS |= {"sb": "sb", "par": "par", "vas": "vas"}
_LIKELY_CLASSIFIERS = {"m": "m", "t": "p", "tumor": "p", "tumour": "p", "ln": "n"}
_RANKS = {"high": "_High", "mid": "_Mid", "intermediate": "_Mid", "low": "_Low"}

VERTEBRA = re.compile(
    r"(?:vertebrae?|vb|vertebral body|wirbel|wirbelkoerper|vertebre|kreg|wervel|vertebra) ([ctls]|th) ?0?(\d{1,2})"
)
GERMAN_VERTEBRA = re.compile(r"(hwk|bwk|lwk|hw|bw|lw) ?0?(\d{1,2})")
BARE_VERTEBRA = re.compile(r"([ctl]|th) ?0?(\d{1,2})")
_GERMAN_REGIONS = {"h": "C", "b": "T", "l": "L"}
LARGEST_VERTEBRA = {"C": 7, "T": 13, "L": 6, "S": 5}
RIB = re.compile(r"rib (?:(left|right|l|r) )?0?(\d{1,2})(?: (left|right|l|r))?")
PRV = re.compile(r"(?P<organ>.+?) prv ?(?P<back>\d{1,2})?(?: ?mm)?(?P<side> (?:l|r|lt|rt|left|right))?")
PRV_FIRST = re.compile(r"prv ?(?P<front>\d{1,2})? ?(?:mm)? (?P<organ>.+?)(?: (?P<back>\d{1,2}) ?mm)?")
LONGEST_NAME = 16
"""Characters of a name of the standard (TG-263, 7.1)."""

Found = tuple[str, bool, str]
"""Standard name, whether it is certain, and why."""


def target(text: str) -> Found | None:
    """A target volume: kind, classifier (primary, node, metastasis, boost bed), number, dose level in cGy.

    Args:
        text: lower case, every run of other signs than letters, digits, commas and points one space.
    """
    compact = re.sub(r"(?<=[a-z]) (?=[1-9](?: |$))", "", text)
    match = TARGET.fullmatch(compact) or TARGET.fullmatch(text)
    if match is None:
        return None
    kind, classifier, number, dose, unit = match.groups()
    classifier = classifier or ""
    known = {**_CLASSIFIERS, **_LIKELY_CLASSIFIERS}
    name = kind.upper() + known.get(classifier, "") + (number or "") + _RANKS.get(classifier, "")
    certain = classifier not in _LIKELY_CLASSIFIERS
    if dose is None:
        return name, certain, "target volume"
    level = _level_cgy(dose, unit or "")
    if level is None:
        return None
    cgy, sure = level
    return f"{name}_{cgy}", certain and sure and classifier not in _RANKS, f"target volume for {cgy / 100:g} Gy"


def _level_cgy(dose: str, unit: str) -> tuple[int, bool] | None:
    """A dose level in cGy and whether it can be nothing else; two digits without a unit are Gy, four are cGy."""
    value = float(dose.replace(",", "."))
    whole = dose.isdigit()
    if unit == "gy":
        return (round(value * 100), True) if 1 <= value <= 100 else None
    if unit == "cgy":
        return (int(value), True) if whole and 100 <= value <= 10_000 else None
    if whole and len(dose) == 4 and 1000 <= value <= 9000:
        return int(value), True
    if 20 <= value < 100:
        return round(value * 100), whole
    return None


def bone(text: str) -> Found | None:
    """A vertebra or a rib; `text` is words in lower case."""
    match = VERTEBRA.fullmatch(text)
    if match is not None:
        return _vertebra(match.group(1), match.group(2), True)
    match = GERMAN_VERTEBRA.fullmatch(text)
    if match is not None:
        return _vertebra(_GERMAN_REGIONS[match.group(1)[0]], match.group(2), True)
    match = BARE_VERTEBRA.fullmatch(text)
    if match is not None:
        return _vertebra(match.group(1), match.group(2), False)
    match = RIB.fullmatch(text)
    if match is None or (match.group(1) is None) == (match.group(3) is None) or not 1 <= int(match.group(2)) <= 12:
        return None
    side = (match.group(1) or match.group(3))[0].upper()
    return f"Rib{int(match.group(2)):02d}_{side}", True, "rib"


def _vertebra(region: str, number: str, certain: bool) -> Found | None:
    region = region[0].upper()
    if not 1 <= int(number) <= LARGEST_VERTEBRA[region]:
        return None
    return f"VB_{region}{int(number):0{2 if region == 'T' else 1}d}", certain, "vertebra"


def without_prv(text: str) -> tuple[str, str]:
    """The organ of a planning risk volume, and the suffix of its standard name; no suffix where it is none.

    `cord prv 5 mm` → (`cord`, `_PRV05`); `text` is words in lower case.
    """
    match = PRV.fullmatch(text) or PRV_FIRST.fullmatch(text)
    if match is None:
        return text, ""
    parts = match.groupdict()
    margin = parts.get("front") or parts["back"]
    return match["organ"] + (parts.get("side") or ""), "_PRV" + (f"{int(margin):02d}" if margin else "")


def with_prv(name: str, suffix: str) -> str:
    """The standard name of a planning risk volume: the suffix stands before the side (`OpticNrv_PRV03_L`).

    A margin below 10 mm has one digit where the name would be too long with two (`OpticChiasm_PRV3`).
    """
    organ, side = (name[:-2], name[-2:]) if name.endswith(("_L", "_R")) else (name, "")
    if suffix.startswith("_PRV0") and len(name + suffix) > LONGEST_NAME:
        suffix = f"_PRV{suffix[-1]}"
    return f"{organ}{suffix}{side}"
