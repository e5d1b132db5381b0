"""What a TotalSegmentator process is started with."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import psutil
import pytest

from rtpipeline.inference.children import TotalSegmentatorProcess


def test_each_process_has_settings_of_its_own_that_report_nothing_and_carry_the_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = tmp_path / "home" / "config.json"
    users.parent.mkdir()
    users.write_text('{"license_number": "aca_0123456789ABCD", "send_usage_stats": true, "prediction_counter": 7}')
    before = users.read_bytes()
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(users.parent))
    logger = logging.getLogger("test")
    processes = [TotalSegmentatorProcess(tmp_path / "w", 3, tmp_path / "logs", "gpu:0", logger) for _ in range(2)]
    homes = []
    for process in processes:
        variables = psutil.Process(process.pid).environ()
        assert variables["TOTALSEG_WEIGHTS_PATH"] == str(tmp_path / "w")
        assert (variables["OMP_NUM_THREADS"], variables["CUDA_DEVICE_ORDER"]) == ("3", "PCI_BUS_ID")
        homes.append(Path(variables["TOTALSEG_HOME_DIR"]))
        settings = json.loads((homes[-1] / "config.json").read_text())
        assert settings["send_usage_stats"] is False
        assert settings["license_number"] == "aca_0123456789ABCD"
        assert settings["prediction_counter"] == 0
    assert len({*homes, users.parent}) == 3
    assert len(list((tmp_path / "logs").iterdir())) == 2
    for process in processes:
        process.kill()
        process.close()
    assert not any(home.exists() for home in homes)
    assert users.read_bytes() == before
