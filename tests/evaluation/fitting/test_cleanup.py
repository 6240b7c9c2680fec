import numpy as np
import pytest

from figureground.config import PostProcessingConfig
from figureground.errors import FiguregroundError
from figureground.evaluation.fitting.cleanup import choose_post_processing


@pytest.fixture
def figure():
    figure = np.zeros((40, 50), bool)
    figure[10:30, 10:30] = True
    return figure


def test_nothing_is_done_where_nothing_helps(figure):
    assert choose_post_processing([(figure, (figure, None))] * 3) == PostProcessingConfig()


def test_a_speck_is_removed_by_its_size_where_figures_have_several_parts(figure):
    several = figure.copy()
    several[10:30, 35:45] = True
    mask = several.copy()
    mask[0, 0] = True  # 0.0005 of the image
    assert choose_post_processing([(mask, (several, None))]) == PostProcessingConfig(min_area=0.001)


def test_a_large_second_part_needs_more(figure):
    mask = figure.copy()
    mask[:6, :6] = True  # 0.018 of the image, above all sizes that are tried
    assert choose_post_processing([(mask, (figure, None))]) == PostProcessingConfig(keep_largest=True)


def test_a_hole_is_filled(figure):
    mask = figure.copy()
    mask[15:20, 15:20] = False
    assert choose_post_processing(iter([(mask, (figure, None))])) == PostProcessingConfig(fill_holes=True)


def test_what_is_left_out_does_not_count(figure):
    mask = figure.copy()
    mask[0, 0] = True
    kept = np.ones(figure.shape, bool)
    kept[0, 0] = False
    assert choose_post_processing([(mask, (figure, kept))]) == PostProcessingConfig()


def test_the_mean_decides(figure):
    several = figure.copy()
    several[10:30, 35:45] = True
    mask = figure.copy()
    mask[:6, :6] = True
    assert choose_post_processing([(mask, (figure, None)), (several, (several, None))]) == PostProcessingConfig()


def test_no_masks_are_refused():
    with pytest.raises(FiguregroundError, match="no masks to choose"):
        choose_post_processing([])
