import numpy as np
import pytest
import torch

from figureground.data.dataset import Sample
from figureground.preprocessing import Preprocessing
from figureground.training.datamodule import Collate

IMAGENET = Preprocessing((5, 7), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def samples(n=3, height=5, width=7):
    rng = np.random.default_rng(0)
    for index in range(n):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        labels = rng.choice(np.array([0, 1, 255], np.uint8), (height, width))
        image.setflags(write=False)  # as those of the cache
        yield Sample(f"{index}", image, labels)


@pytest.mark.parametrize("preprocessing", [Preprocessing(), IMAGENET])
@pytest.mark.parametrize("n", [1, 3])
def test_batches_are_normalised_as_in_prediction(preprocessing, n):
    given = list(samples(n))
    images, labels = Collate(preprocessing)(given)
    assert (images.shape, images.dtype) == ((n, 3, 5, 7), torch.float32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    expected = preprocessing.normalise(np.stack([sample.image for sample in given]))
    assert np.array_equal(images.numpy(), expected)
    assert torch.equal(labels, torch.from_numpy(np.stack([sample.labels for sample in given])))


def test_black_and_white_become_minus_one_and_one():
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 255
    images, _ = Collate(Preprocessing())([Sample("a", image, image[..., 0])])
    assert images.flatten().tolist() == [-1, 1] * 3
