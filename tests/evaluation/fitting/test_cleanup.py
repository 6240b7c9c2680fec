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
    assert choose_post_processing([(figure, (figure, None))] * 3).settings == PostProcessingConfig()


def test_a_speck_is_removed_by_its_size_where_figures_have_several_parts(figure):
    several = figure.copy()
    several[10:30, 35:45] = True
    mask = several.copy()
    mask[0, 0] = True  # 0.0005 of the image
    assert choose_post_processing([(mask, (several, None))] * 4).settings == PostProcessingConfig(min_area=0.001)


def test_a_large_second_part_needs_more(figure):
    mask = figure.copy()
    mask[:6, :6] = True  # 0.018 of the image, above all sizes that are tried
    assert choose_post_processing([(mask, (figure, None))] * 4).settings == PostProcessingConfig(keep_largest=True)


def test_a_hole_is_filled(figure):
    mask = figure.copy()
    mask[15:20, 15:20] = False
    assert choose_post_processing(iter([(mask, (figure, None))] * 4)).settings == PostProcessingConfig(fill_holes=True)


def test_what_is_left_out_does_not_count(figure):
    mask = figure.copy()
    mask[0, 0] = True
    kept = np.ones(figure.shape, bool)
    kept[0, 0] = False
    assert choose_post_processing([(mask, (figure, kept))] * 4).settings == PostProcessingConfig()


def test_the_mean_decides(figure):
    several = figure.copy()
    several[10:30, 35:45] = True
    mask = figure.copy()
    mask[:6, :6] = True
    assert (
        choose_post_processing([(mask, (figure, None)), (several, (several, None))]).settings == PostProcessingConfig()
    )


def test_no_masks_are_refused():
    with pytest.raises(FiguregroundError, match="0 masks to choose"):
        choose_post_processing([])


def test_a_gain_that_may_be_chance_is_no_reason(figure):
    """In three of twelve images a part is too much, in two it is a figure's own."""
    several = figure.copy()
    several[:6, :6] = True
    wrong, right = (several, (figure, None)), (several, (several, None))
    found = choose_post_processing([wrong] * 3 + [right] * 2 + [(figure, (figure, None))] * 7)
    assert found.settings == PostProcessingConfig()
    assert found.gain.ci95[0] <= 0
    clear = choose_post_processing([wrong] * 10 + [right])
    assert clear.settings == PostProcessingConfig(keep_largest=True)
    assert clear.gain.ci95[0] > 0
