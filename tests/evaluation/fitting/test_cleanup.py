import numpy as np
import pytest

from figureground.config import PostProcessingConfig
from figureground.errors import FiguregroundError
from figureground.evaluation.fitting.cleanup import choose_post_processing
from figureground.labels import LEFT_OUT


@pytest.fixture
def labels():
    labels = np.zeros((40, 50), np.uint8)
    labels[10:30, 10:30] = 1
    return labels


def test_nothing_is_done_where_nothing_helps(labels):
    assert choose_post_processing([(labels == 1, labels)] * 3) == PostProcessingConfig()


def test_a_speck_is_removed_by_its_size_where_figures_have_several_parts(labels):
    several = labels.copy()
    several[10:30, 35:45] = 1
    mask = several == 1
    mask[0, 0] = True  # 0.0005 of the image
    assert choose_post_processing([(mask, several)]) == PostProcessingConfig(min_area=0.001)


def test_a_large_second_part_needs_more(labels):
    mask = labels == 1
    mask[:6, :6] = True  # 0.018 of the image, above all sizes that are tried
    assert choose_post_processing([(mask, labels)]) == PostProcessingConfig(keep_largest=True)


def test_a_hole_is_filled(labels):
    mask = labels == 1
    mask[15:20, 15:20] = False
    assert choose_post_processing(iter([(mask, labels)])) == PostProcessingConfig(fill_holes=True)


def test_what_is_left_out_does_not_count(labels):
    mask = labels == 1
    mask[0, 0] = True
    labels[0, 0] = LEFT_OUT
    assert choose_post_processing([(mask, labels)]) == PostProcessingConfig()


def test_the_mean_decides(labels):
    several = labels.copy()
    several[10:30, 35:45] = 1
    mask = labels == 1
    mask[:6, :6] = True
    assert choose_post_processing([(mask, labels), (several == 1, several)]) == PostProcessingConfig()


def test_no_masks_are_refused():
    with pytest.raises(FiguregroundError, match="no masks to choose"):
        choose_post_processing([])
