"""`weights` fetches what is missing, and says so when it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rtpipeline.demo.tiny_weights import write_tiny_weights

NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


def weights(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rtpipeline.cli.app", "weights", *arguments],
        env={**os.environ, **NO_NETWORK, "TOTALSEG_HOME_DIR": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_fetched_where_everything_is_there(tmp_path: Path) -> None:
    write_tiny_weights(tmp_path / "weights")
    ended = weights(tmp_path, "--totalseg-fast", "--totalseg-weights", str(tmp_path / "weights"))
    assert ended.returncode == 0, ended.stderr
    assert str(tmp_path / "weights") in ended.stdout


def test_without_a_network_it_says_what_to_do(tmp_path: Path) -> None:
    ended = weights(tmp_path, "--totalseg-fast", "--totalseg-weights", str(tmp_path / "weights"))
    assert ended.returncode == 1
    assert "dataset 297 could not be fetched" in ended.stderr
    assert "copy its folder" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_cone_beam_ct_needs_is_fetched_too(tmp_path: Path) -> None:
    write_tiny_weights(tmp_path / "weights")
    (body,) = (tmp_path / "weights").glob("Dataset300*")
    body.rename(tmp_path / "elsewhere")
    ended = weights(tmp_path, "--totalseg-fast", "--totalseg-weights", str(tmp_path / "weights"))
    assert ended.returncode == 1
    assert "dataset 300 (1 of 1)" in ended.stdout


def test_tasks_of_custom_models_are_fetched_too(tmp_path: Path) -> None:
    write_tiny_weights(tmp_path / "weights")
    (tmp_path / "models" / "vessels").mkdir(parents=True)
    (tmp_path / "models" / "vessels" / "custom_model.yaml").write_text(
        "nnunet: {interface: totalsegmentator, networks: [{task: lung_vessels}]}"
    )
    options = ["--totalseg-fast", "--totalseg-weights", str(tmp_path / "weights")]
    ended = weights(
        tmp_path, *options, "--config", "custom_models.enabled=true", "--config", "custom_models.root=models"
    )
    assert ended.returncode == 1
    assert "dataset 258 could not be fetched" in ended.stderr
