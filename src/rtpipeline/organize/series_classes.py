"""What kind of image each series is: one table of rules, the first that holds decides, and what none knows is not used.

A series that a structure set was drawn on is used whatever its kind: somebody who saw it worked with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from rtpipeline.organize.series import MINIMUM_SLICES, Series, SeriesClass, header_of, is_localizer


@dataclass(frozen=True)
class SeriesFacts:
    """What the rules look at.

    Attributes:
        named: a structure set was drawn on it.
        only_ct: it is the only CT that can be planned on in a frame of reference that radiotherapy objects have.
        with_pet: a PET series has its frame of reference and study.
    """

    series: Series
    named: bool = False
    only_ct: bool = False
    with_pet: bool = False

    @cached_property
    def text(self) -> str:
        """SeriesDescription in lower case, with single spaces between its words."""
        return " ".join(re.findall(r"[a-z0-9%.]+", self.series.header.series_description.lower()))

    @cached_property
    def device(self) -> str:
        """Description, manufacturer and model in lower case, with single spaces between their words."""
        header = self.series.header
        texts = f"{header.series_description} {header.manufacturer} {header.manufacturer_model}"
        return " ".join(re.findall(r"[a-z0-9]+", texts.lower()))

    @cached_property
    def image_type(self) -> frozenset[str]:
        """The values of ImageType."""
        return frozenset(self.series.header.image_type.split("\\"))

    @property
    def is_ct(self) -> bool:
        """Whether the series is CT."""
        return self.series.modality == "CT"

    @property
    def is_mr(self) -> bool:
        """Whether the series is MR."""
        return self.series.modality == "MR"

    @property
    def is_pet(self) -> bool:
        """Whether the series is PET."""
        return self.series.modality == "PT"


class Rule(NamedTuple):
    """One line of the table.

    Attributes:
        kind: what a series is for which the rule holds.
        used: whether such a series is used although no structure set was drawn on it.
        reason: why, as half a sentence; `{slices}` is replaced by their number.
    """

    kind: str
    used: bool
    reason: str
    holds: Callable[[SeriesFacts], bool]


_LOCALIZER = re.compile(r"\b(localizer|localiser|scout|topogram|surview|survey|loc)\b")
_REPORT = re.compile(r"dose report|patient protocol|dose info|screen ?save|screen ?capture|oncology reading")
_PROJECTION = re.compile(r"\b(mip|minip|maxip)\b")
_PROJECTION_TYPES = {"MIP", "MINIP", "MAXIP", "PROJECTION IMAGE", "MIN_IP", "MAX_IP"}
_AVERAGE = re.compile(r"\b(ave|avg|average|averaged|aip|mean)\b")
_PHASE = re.compile(r"\b\d{1,3}(\.0)? ?%|\bt ?= ?\d+ ?%|\b(gated|resp) \d{1,3}\b")
_ITERATIVE = re.compile(r"\b(asir|ss\d+|idose)")
"""Names of reconstructions that carry a percentage of their own."""
_CONE_BEAM = re.compile(
    r"\b(cbct|conebeam|cone beam|obi|xvi|kvct|mvct|patient verification|halcyon|ethos|rds pva|acuity|"
    r"on board imager|elekta|tomotherapy)\b"
)
_KNOWN_SCANNER = re.compile(
    r"\b(siemens|ge|philips|toshiba|canon|hitachi|fujifilm|neusoft|shimadzu|united imaging|uih|mediso|picker|marconi)\b"
)
_FUNCTIONAL = re.compile(
    r"dwi|adc|ivim|dti|diffusion|\bdiff|perf|\bdce|\bdsc|twist|tricks|\basl\b|\bbold\b|\btrace|epi2d|ep2d|fmri|"
    r"\bb\d{2,4}\b|dynamic|spectro"
)
_FUNCTIONAL_TYPES = {"DIFFUSION", "ADC", "PERFUSION", "TRACEW", "FA", "CBF", "CBV", "MTT", "TTP"}
_ANATOMICAL = re.compile(
    r"\bt[12]|\bpd|tse|fse|space|flair|vibe|mpr|mp2rage|dixon|stir|tirm|bravo|cube|haste|fiesta|ciss|blade|propeller|"
    r"lava|thrive|vista|\bgre\b|\bfl[23]d|spgr|trufi|ffe\b"
)

RULES = (
    Rule("report", False, "a report or screen capture", lambda it: bool(_REPORT.search(it.text))),
    Rule(
        "cone_beam_ct",
        True,
        "a cone-beam CT that a structure set was drawn on",
        lambda it: it.is_ct and it.named and _is_cone_beam(it),
    ),
    Rule("planning_ct", True, "a structure set was drawn on it", lambda it: it.is_ct and it.named),
    Rule(
        "localizer",
        False,
        "a localizer",
        lambda it: is_localizer(it.series.header) or bool(_LOCALIZER.search(it.text)),
    ),
    Rule("incomplete", False, "only {slices} slices", lambda it: it.series.slices < MINIMUM_SLICES),
    Rule(
        "unplaced",
        False,
        "images without a position in the patient",
        lambda it: any(header_of(file).plane_position_mm is None for file in it.series.files),
    ),
    Rule(
        "overlaid",
        False,
        "a multi-frame image with several frames at one position (phases or echoes)",
        lambda it: any(header_of(file).planes < header_of(file).frames for file in it.series.files),
    ),
    Rule(
        "projection",
        False,
        "a projection of intensities, not an image of tissue",
        lambda it: bool(_PROJECTION.search(it.text) or it.image_type & _PROJECTION_TYPES),
    ),
    Rule("cone_beam_ct", False, "a cone-beam CT for positioning", lambda it: it.is_ct and _is_cone_beam(it)),
    Rule("4d_phase", False, "a phase of a 4D CT", lambda it: it.is_ct and _is_phase(it)),
    Rule(
        "planning_ct",
        True,
        "the only CT in the frame of reference of radiotherapy objects",
        lambda it: it.is_ct and it.only_ct,
    ),
    Rule("4d_average", True, "the average of a 4D CT", lambda it: it.is_ct and bool(_AVERAGE.search(it.text))),
    Rule("pet_ct", True, "a CT with a PET of its frame of reference and study", lambda it: it.is_ct and it.with_pet),
    Rule(
        "diagnostic_ct",
        True,
        "an original image of a scanner",
        lambda it: it.is_ct and ("ORIGINAL" in it.image_type or bool(_KNOWN_SCANNER.search(it.device))),
    ),
    Rule(
        "functional_mr",
        True,
        "its description, type or sequence is of diffusion, perfusion or echo-planar imaging",
        lambda it: it.is_mr and _is_functional(it),
    ),
    Rule(
        "anatomical_mr",
        True,
        "its description or sequence is of anatomical imaging",
        lambda it: (
            it.is_mr
            and bool(
                _ANATOMICAL.search(it.text) or {"SE", "GR", "IR"} & set(it.series.header.scanning_sequence.split("\\"))
            )
        ),
    ),
    Rule(
        "pet_uncorrected",
        False,
        "a PET without attenuation correction",
        lambda it: it.is_pet and _is_uncorrected(it),
    ),
    Rule(
        "pet_processed",
        False,
        "a processed (secondary) PET image",
        lambda it: it.is_pet and "SECONDARY" in it.image_type and "PRIMARY" not in it.image_type,
    ),
    Rule("pet", True, "a PET image", lambda it: it.is_pet),
    Rule("unknown", False, "nothing in its header says which kind of image it is", lambda it: True),
)
"""In order: the first rule that holds decides."""


def classified(
    series: Sequence[Series],
    structure_sets: Collection[tuple[Collection[str], Collection[str]]],
    frames: Collection[str],
) -> list[Series]:
    """Give each series of a patient its class.

    Args:
        series: all series of the patient.
        structure_sets: of each structure set the UIDs of the series, and of the single images, that it names.
        frames: FrameOfReferenceUIDs that structure sets, plans and doses have.
    """
    named = {uid for uids, _ in structure_sets for uid in uids}
    images = {uid for _, uids in structure_sets for uid in uids}
    pets = {(one.frame, one.study_uid) for one in series if one.modality == "PT"}
    facts = [
        SeriesFacts(
            one,
            named=one.uid in named or _has_image_of(one, images),
            with_pet=(one.frame, one.study_uid) in pets,
        )
        for one in series
    ]
    classes = [classify(one) for one in facts]
    candidates = Counter(
        (one.series.frame, one.series.study_uid)
        for one, found in zip(facts, classes, strict=True)
        if one.is_ct and found.kind in _PLANNABLE
    )
    for number, one in enumerate(facts):
        place = (one.series.frame, one.series.study_uid)
        if one.series.frame in frames and candidates[place] == 1 and classes[number].kind in _PLANNABLE:
            classes[number] = classify(replace(one, only_ct=True))
    return [replace(one, series_class=found) for one, found in zip(series, classes, strict=True)]


_PLANNABLE = frozenset({"planning_ct", "4d_average", "pet_ct", "diagnostic_ct", "unknown"})
"""Kinds of CT that a treatment may have been planned on."""


def classify(facts: SeriesFacts) -> SeriesClass:
    """The class of one series, by the first rule of the table that holds."""
    rule = next(rule for rule in RULES if rule.holds(facts))
    return SeriesClass(rule.kind, rule.used or facts.named, rule.reason.format(slices=facts.series.slices))


def _has_image_of(series: Series, uids: Collection[str]) -> bool:
    return bool(uids) and any(header_of(file).sop_instance_uid in uids for file in series.files)


def _is_cone_beam(facts: SeriesFacts) -> bool:
    return _CONE_BEAM.search(facts.device) is not None


def _is_phase(facts: SeriesFacts) -> bool:
    return _PHASE.search(facts.text) is not None and _ITERATIVE.search(facts.text) is None


def _is_functional(facts: SeriesFacts) -> bool:
    sequence = facts.series.header.scanning_sequence.split("\\")
    return bool(_FUNCTIONAL.search(facts.text) or facts.image_type & _FUNCTIONAL_TYPES or "EP" in sequence)


def _is_uncorrected(facts: SeriesFacts) -> bool:
    corrected = facts.series.header.corrected_image
    return bool(corrected and "ATTN" not in corrected.split("\\")) or bool(
        re.search(r"\b(nac|uncorrected)\b", facts.text)
    )
