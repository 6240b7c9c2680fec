"""Which data a command takes: the run's, with what the user gave laid over it."""

import pytest

from figureground.bundle import BundleInfo, DataSummary, write_bundle
from figureground.cli.common import data_of
from figureground.config import DataConfig, TrainConfig, to_yaml
from figureground.errors import UsageError

MINE = DataConfig("mine", "ignore", 128, cache="off")


@pytest.fixture
def models(tmp_path):
    """Folders of runs, ``a`` and ``b`` with the same data, ``c`` with another border; a bundle of
    ``c`` alone, of a version that did not say more, and one, ``d``, that tells all of its data."""
    for name, data in (("a", MINE), ("b", MINE), ("c", DataConfig("mine", "background", 128, cache="elsewhere"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(to_yaml(TrainConfig(data=data)))
    write_bundle(tmp_path / "c.safetensors", {}, BundleInfo(data=DataSummary("mine", {}, "background")))
    told = DataSummary("mine", {}, "ignore", DataConfig("", "ignore", 128, group="^p"))
    write_bundle(tmp_path / "d.safetensors", {}, BundleInfo(data=told))
    return tmp_path


@pytest.mark.parametrize(
    ("names", "changes", "expected"),
    [
        (["a"], {}, MINE),
        (["a", "b"], {}, MINE),
        (["a"], {"source": "other"}, DataConfig("other", "ignore", 128, cache="off")),
        (["a"], {"foreground": "foreground", "mask_threshold": None}, DataConfig("mine", cache="off")),
        (["a", "c"], {"foreground": "foreground"}, DataConfig("mine", "foreground", 128, cache="off")),
        (["c.safetensors"], {"source": "other"}, DataConfig("other", "background", split="names")),
        (["d.safetensors"], {"source": "other"}, DataConfig("other", "ignore", 128, group="^p")),
        (["nowhere"], {"source": "other"}, DataConfig("other")),
    ],
)
def test_the_runs_own_data_and_what_was_given(models, names, changes, expected):
    assert data_of([models / name for name in names], changes) == expected


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        (["c.safetensors"], {}, "does not say which data it was trained on; name a folder with --data"),
        (["a", "c"], {}, "was trained with foreground 'ignore', .*c with 'background'; say which"),
        (["a"], {"mask_threshold": "many"}, "mask_threshold is 'many'; expected int"),
    ],
)
def test_what_is_not_said(models, names, changes, words):
    with pytest.raises(UsageError, match=words):
        data_of([models / name for name in names], changes)
