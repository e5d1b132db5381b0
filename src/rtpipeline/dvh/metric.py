"""One measured value of a structure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

OK = "ok"
WITHHELD = "withheld: the dose grid does not cover the structure"
INCOMPLETE = "of the covered part"
TOO_SMALL = "the structure is smaller"
NOT_DEFINED = "not defined for this dose"
NO_PRESCRIPTION = "no plan states a prescription"


@dataclass(frozen=True)
class Metric:
    """One measured value.

    Attributes:
        name: for example `D95`, `V20Gy`, `D0.03cc`, `V95%Rx`, `EQD2_Dmean`.
        unit: `Gy`, `% of prescription`, `%` of the volume, `cm3`, `Gy cm3`, or empty.
        value: None where it is withheld or does not exist.
        status: `ok`, or why there is no value or what it is a value of.
        alpha_beta_gy: of equieffective doses.
    """

    name: str
    unit: str
    value: float | None
    status: str = OK
    alpha_beta_gy: float | None = None

    @property
    def column(self) -> str:
        """Name of its column in the wide table."""
        columns = {
            "Gy": f"{self.name}Gy",
            "% of prescription": f"{self.name}%",
            "%": f"{self.name} (%)",
            "cm3": f"{self.name} (cm³)",
            "Gy cm3": f"{self.name}_Gycm3",
        }
        return columns.get(self.unit, self.name)


def defined(name: str, unit: str, value: float) -> Metric:
    """A metric with a value, or without one where it is not a number."""
    return Metric(name, unit, float(value)) if np.isfinite(value) else Metric(name, unit, None, NOT_DEFINED)


def without_repeats(metrics: Iterable[Metric]) -> list[Metric]:
    """The metrics; of several with one name and unit the first."""
    kept: dict[tuple[str, str], Metric] = {}
    for metric in metrics:
        kept.setdefault((metric.name, metric.unit), metric)
    return list(kept.values())
