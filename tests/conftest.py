import tarfile
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


def _unpacked(name, folder):
    archive = SHARED_DATA / f"{name}.tar.gz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there: this test reads the real photographs")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (root,) = [path.parent for path in folder.glob("*/annotations")]
    return root


@pytest.fixture(scope="session")
def pets_256(tmp_path_factory):
    return _unpacked("oxford-iiit-pet-256", tmp_path_factory.mktemp("pets-256"))


@pytest.fixture(scope="session")
def pets_native(tmp_path_factory):
    return _unpacked("oxford-iiit-pet-native", tmp_path_factory.mktemp("pets-native"))
