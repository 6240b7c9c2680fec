"""What other models see becomes a part of the truth."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from figureground.bundle import read_tensors
from figureground.config import DataConfig, ModelConfig, TrainConfig
from figureground.data import open_dataset
from figureground.data.cache import cached
from figureground.data.dataset import FULL, Sample, targets_of
from figureground.errors import FiguregroundError
from figureground.prediction import Views, load
from figureground.preprocessing import Preprocessing
from figureground.training import resume, train
from figureground.training import run as run_file
from figureground.training.teachers import Taught

TINY = TrainConfig(
    data=DataConfig("synthetic:n=40,size=32", cache="off"),
    model=ModelConfig("unet", {"base_width": 4}),
    preprocessing=Preprocessing((32, 32)),
    batch_size=4,
    learning_rate=1e-3,
    precision="float32",
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return train(replace(TINY, epochs=4, learning_rate=1e-2), tmp_path_factory.mktemp("teacher") / "run").folder


class WithABorder:
    """The drawn figures, the first row of each left out."""

    def __init__(self):
        self._dataset = open_dataset("synthetic:n=10,size=40", "train")
        self.name, self.split, self.kind = self._dataset.name, self._dataset.split, self._dataset.kind
        self.metadata = self._dataset.metadata
        self.foreground, self.names = "ignore", self._dataset.names
        self.fingerprint = self._dataset.fingerprint

    def __len__(self):
        return len(self._dataset)

    def __getitem__(self, index):
        sample = self._dataset[index]
        kept = np.ones(sample.mask.shape, bool)
        kept[0] = False
        return Sample(sample.name, sample.image, targets_of(sample.mask, kept))


def test_a_teacher_that_is_no_model_is_named_before_any_image_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(run_file, "open_datasets", lambda *_: pytest.fail("the data were read"))
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(FiguregroundError, match=r"^[^;]*empty\.onnx"):
        train(replace(TINY, teachers=(str(tmp_path / "empty.onnx"),)), tmp_path / "run")


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_figure_is_the_mean_of_truth_and_teacher(teacher, share):
    dataset = WithABorder()
    seen = load(teacher, views=Views(flip=True)).predict(dataset[3].image).probability
    found = Taught(dataset, [str(teacher)], share)[3]
    figure = found.targets["figure"]
    np.testing.assert_array_equal(found.kept, dataset[3].kept)
    mean = (1 - share) * dataset[3].mask[1:] + share * seen[1:]
    np.testing.assert_allclose(figure[1:] / FULL, mean, atol=0.5 / FULL + 1e-6)
    np.testing.assert_array_equal(found.image, dataset[3].image)
    if share < 0.5:
        np.testing.assert_array_equal(found.mask, dataset[3].mask)  # the mask decides
    else:
        assert len(np.unique(figure)) > 10


def test_several_teachers_are_averaged(teacher, tmp_path):
    other = train(replace(TINY, epochs=1, seed=1), tmp_path / "other").folder
    dataset = open_dataset("synthetic:n=10,size=40", "train")
    seen = load(teacher, other, views=Views(flip=True)).predict(dataset[0].image).probability
    found = Taught(dataset, [str(teacher), str(other)], 1.0)[0].targets["figure"]
    np.testing.assert_allclose(found / FULL, seen, atol=0.5 / FULL + 1e-6)


def test_the_fingerprint_changes_with_data_teacher_and_share(teacher, tmp_path):
    other = train(replace(TINY, epochs=1, seed=1), tmp_path / "other").folder
    ten, twelve = (open_dataset(f"synthetic:n={n},size=40", "train") for n in (10, 12))
    taught = [
        Taught(ten, [str(teacher)], 0.4),
        Taught(ten, [str(teacher)], 0.5),
        Taught(ten, [str(other)], 0.4),
        Taught(twelve, [str(teacher)], 0.4),
    ]
    assert len({each.fingerprint() for each in (*taught, ten)}) == 5
    assert Taught(ten, [str(teacher)], 0.4).fingerprint() == taught[0].fingerprint()


def test_a_taught_run_differs_and_can_be_resumed(teacher, tmp_path):
    data = replace(TINY.data, cache=str(tmp_path / "cache"))
    plain = train(replace(TINY, data=data, epochs=1), tmp_path / "plain")
    config = replace(TINY, data=data, epochs=1, teachers=(str(teacher),), copy_paste=0.3, negatives=0.2)
    taught = train(config, tmp_path / "taught")
    again = train(config, tmp_path / "again")
    assert [row["train_loss"] for row in taught.rows] == [row["train_loss"] for row in again.rows]
    first, second = read_tensors(plain.model), read_tensors(taught.model)
    assert not np.array_equal(first["head.weight"], second["head.weight"])
    assert len(resume(taught.folder).rows) == 1
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 3  # train, taught, valid


def test_without_a_cache_there_is_no_teacher(teacher, tmp_path):
    with pytest.raises(FiguregroundError, match=r"what teachers see is kept in the cache \(now 'off'\); give --cache"):
        train(replace(TINY, teachers=(str(teacher),)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_not_there_leaves_no_run(tmp_path):
    with pytest.raises(FiguregroundError, match=r"none.onnx: no such model"):
        train(replace(TINY, teachers=(str(tmp_path / "none.onnx"),)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_share_out_of_range_is_refused():
    with pytest.raises(FiguregroundError, match=r"teacher_share is 1.5; expected 0 to 1"):
        replace(TINY, teacher_share=1.5)


def test_what_is_cached_of_a_taught_dataset_can_be_sent_to_a_worker_process(teacher, tmp_path):
    """Where processes are not forked, as on Windows and macOS, it is pickled."""
    dataset = Taught(open_dataset("synthetic:n=10,size=32", "train"), [str(teacher)], 0.4)
    kept = cached(dataset, Preprocessing((32, 32)), tmp_path)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kept))[0].image, kept[0].image)


def test_crops_are_scaled_once(teacher, tmp_path):
    data = DataConfig("synthetic:n=20,size=80", cache=str(tmp_path))
    config = replace(
        TINY, data=data, preprocessing=Preprocessing((32, 32), "crops", scale=0.5), teachers=(str(teacher),)
    )
    for dataset in run_file.open_datasets(config, progress=False):
        assert dataset[0].image.shape == (40, 40, 3)
