import io

import numpy as np
import pytest
from PIL import Image

from figureground.png import encode_grey


def read(content):
    with Image.open(io.BytesIO(content)) as picture:
        picture.verify()  # the sums of its chunks
    with Image.open(io.BytesIO(content)) as picture:
        return picture.mode, np.asarray(picture)


@pytest.mark.parametrize(("kind", "mode"), [(np.uint8, "L"), (np.uint16, "I;16")])
@pytest.mark.parametrize("at_once", [1, 2, 7, 100])
@pytest.mark.parametrize("size", [(1, 1), (20, 3), (15, 40)])
def test_pillow_reads_the_same_levels(kind, mode, at_once, size):
    levels = np.random.default_rng(0).integers(0, np.iinfo(kind).max, size, kind, endpoint=True)
    strips = [levels[top : top + at_once] for top in range(0, size[0], at_once)]
    found = read(b"".join(encode_grey(strips, *size)))
    assert found[0] == mode
    np.testing.assert_array_equal(found[1], levels)


def test_a_mask_is_small():
    mask = np.zeros((1000, 1000), np.uint8)
    mask[200:800, 300:700] = 255
    assert len(b"".join(encode_grey([mask], 1000, 1000))) < 1000**2 / 200
