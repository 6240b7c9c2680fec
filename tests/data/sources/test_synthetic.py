import numpy as np
import pytest

from figureground.data import SPLITS, open_dataset
from figureground.errors import FiguregroundError

from ..label_maps import labels


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ("synthetic", [400, 50, 50]),
        ("synthetic:n=10,size=32", [8, 1, 1]),
        ("synthetic:n=25", [21, 2, 2]),
        ("synthetic:n=100,size=64,seed=3", [80, 10, 10]),
    ],
)
def test_split_sizes(spec, sizes):
    datasets = [open_dataset(spec, split) for split in SPLITS]
    assert [len(dataset) for dataset in datasets] == sizes
    assert len({name for dataset in datasets for name in dataset.names}) == sum(sizes)


def test_the_same_seed_draws_the_same():
    first, again = (open_dataset("synthetic:n=20,size=48,seed=3", "train") for _ in range(2))
    for index in (5, 0, 15):
        assert np.array_equal(first[index].image, again[index].image)
        assert np.array_equal(first[index].mask, again[index].mask)
    assert first.fingerprint() == again.fingerprint()


@pytest.mark.parametrize(
    ("spec", "split"),
    [("synthetic:n=20,size=48,seed=4", "train"), ("synthetic:n=20,size=48,seed=3", "valid")],
)
def test_another_seed_or_split_draws_something_else(spec, split):
    base = open_dataset("synthetic:n=20,size=48,seed=3", "train")
    other = open_dataset(spec, split)
    assert not np.array_equal(base[0].mask, other[0].mask)
    assert base.fingerprint() != other.fingerprint()


def test_samples_are_what_they_should_be():
    dataset = open_dataset("synthetic:n=40,size=96", "train")
    shares, seen = [], set()
    for index in range(30):
        sample = dataset[index]
        assert sample.name == dataset.names[index]
        assert (sample.image.shape, sample.image.dtype) == ((96, 96, 3), np.uint8)
        assert labels(sample.targets).shape == (96, 96)
        assert set(np.unique(labels(sample.targets))) == {0, 1}
        assert sample.kept is None
        assert sample.image.std() > 5
        shares.append(sample.mask.mean())
        seen.add(sample.image.tobytes())
    assert len(seen) == 30
    assert 0.01 < min(shares) < max(shares) < 0.8


def test_most_figures_differ_in_colour_from_what_is_behind():
    dataset = open_dataset("synthetic:n=40,size=64", "train")
    samples = [dataset[index] for index in range(30)]
    difference = [np.abs(s.image[s.mask].mean(0) - s.image[~s.mask].mean(0)).max() for s in samples]
    assert sum(value > 20 for value in difference) >= 15


@pytest.mark.parametrize("index", [8, 100])
def test_indices_beyond_the_end(index):
    with pytest.raises(IndexError):
        open_dataset("synthetic:n=10,size=32", "train")[index]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("n=9", "n=9, size=256; expected n of 10"),
        ("size=31", "n=500, size=31; expected"),
        ("n=-20", "'n=-20'; expected whole numbers for n, size, seed"),
        ("n=2.5", "'n=2.5'"),
        ("n", "'n'; expected whole numbers"),
        ("count=20", "'count=20'; expected whole numbers"),
        ("n=20;size=64", "'n=20;size=64'"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(FiguregroundError) as caught:
        open_dataset(f"synthetic:{settings}", "train")
    assert words in str(caught.value)
