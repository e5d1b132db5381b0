from pathlib import Path

import pytest
import yaml

from rtpipeline.config import ConfigurationError
from rtpipeline.demo.settings import PARAMETERS, demo_configuration


def test_the_configuration_loads_again_from_its_own_yaml(tmp_path: Path):
    configuration = demo_configuration(tmp_path / "in", tmp_path / "weights", tmp_path / "out")
    assert configuration.segmentation.fast
    assert configuration.segmentation.weights == tmp_path / "weights"
    assert configuration.scheduler.reserved_cores == 0
    assert configuration.output_dir == tmp_path / "out"


def test_a_flag_goes_before_the_demos_own(tmp_path: Path):
    flags = {"segmentation.fast": False, "cores": 1}
    configuration = demo_configuration(tmp_path, tmp_path, tmp_path, **flags)
    assert not configuration.segmentation.fast
    assert configuration.cores == 1
    with pytest.raises(ConfigurationError, match=r"segmentation\.quick"):
        demo_configuration(tmp_path, tmp_path, tmp_path, **{"segmentation.quick": True})


@pytest.mark.parametrize("modality", ["ct", "mr", "pet"])
def test_parameter_files_are_there(modality: str, tmp_path: Path):
    radiomics = demo_configuration(tmp_path, tmp_path, tmp_path).radiomics
    key = "params_file" if modality == "ct" else f"{modality}_params_file"
    assert getattr(radiomics, key) == PARAMETERS / f"{modality}.yaml"
    parameters = yaml.safe_load((PARAMETERS / f"{modality}.yaml").read_text())
    assert set(parameters) == {"imageType", "featureClass", "setting"}
