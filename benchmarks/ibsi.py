"""Features beside the consensus values of the IBSI: digital phantom, and chest CT in configurations C and D.

Writes `docs/ibsi.md`. The chest CT is `IBSI-1` in the folder of real data.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ibsi_page import chest_rows, page, phantom_rows

PAGE = Path(__file__).parents[1] / "docs" / "ibsi.md"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        phantom = phantom_rows(scratch)
        chest = chest_rows(Path(os.environ["RTPIPELINE_TEST_DATA"]) / "IBSI-1", scratch)
    PAGE.write_text(page(phantom, chest), encoding="utf-8")
    figures: dict[str, int] = {}
    unexplained = 0
    for name, rows in {"phantom": phantom, **{f"chest_{key}": found for key, found in chest.items()}}.items():
        agree = sum(row.reference.agrees(row.value) for row in rows)
        unexplained += sum(not row.explained for row in rows)
        figures |= {f"{name}_features": len(rows), f"{name}_agree": agree}
        print(f"{name:10} {agree} of {len(rows)} features agree; the others:")
        for row in rows:
            if not row.reference.agrees(row.value):
                consensus = f"{row.reference.value:g} +- {row.reference.tolerance:g}"
                print(f"  {row.feature:45} {row.value:12.6g} {consensus:20} {row.reason or 'NO REASON'}")
    bars = {"deviating_without_reason": {"value": unexplained, "at_most": 0, "ok": unexplained == 0}}
    print(json.dumps({"name": "ibsi", "figures": figures, "bars": bars, "ok": unexplained == 0}))
    return 0 if unexplained == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
