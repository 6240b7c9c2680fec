"""``report.html``: what a colleague needs to judge a model, without the tool. Its words are in the page's template."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from figureground.data import Dataset
from figureground.drawing import as_svg, write_png
from figureground.evaluation.report.examples import ERROR_COLOURS, Example, choose_cases, error_map, examples_of
from figureground.evaluation.report.figures import draw_figures, title_of
from figureground.evaluation.scoring.estimates import POOR
from figureground.evaluation.scoring.evaluation import Evaluation
from figureground.evaluation.scoring.properties import PROPERTIES
from figureground.evaluation.scoring.scores import EMPTY_MASK_RULE, LEFT_OUT_RULE, METRICS
from figureground.evaluation.scoring.slices import SLICE_METHOD, Slice, correlations_of
from figureground.evaluation.statistics import FEW_IMAGES, FEWEST_FOR_INTERVALS, INTERVAL_METHOD
from figureground.files import read_text
from figureground.metrics import THRESHOLDS
from figureground.pages import Picture, picture, write_page
from figureground.prediction import Segmenter
from figureground.runs import CONFIG, HISTORY_TABLE

FAILURE = 0.5  # a Dice below it
EXAMPLE_SIDE = 200  # pixels of a picture's longer side
BORDER = {
    "foreground": "the uncertain border of the masks counts as figure",
    "background": "the uncertain border of the masks counts as background",
    "ignore": "the uncertain border of the masks is left out",
}


@dataclass(frozen=True)
class RunRecord:
    """What a run folder tells beside its model."""

    history: Sequence[Mapping[str, float]] = ()
    """The rows of ``metrics.csv``."""
    config: str = ""
    """``config.yaml`` as it stands."""


def read_record(model: str | Path) -> RunRecord:
    """What there is of a run; nothing where the model is a single file."""
    history, config = Path(model) / HISTORY_TABLE, Path(model) / CONFIG
    rows: list[dict[str, float]] = []
    if history.is_file():
        table = csv.DictReader(read_text(history).splitlines())
        rows = [{name: float(cell or "nan") for name, cell in row.items()} for row in table]
    return RunRecord(rows, read_text(config) if config.is_file() else "")


def write_report(
    path: Path,
    evaluation: Evaluation,
    segmenter: Segmenter,
    dataset: Dataset,
    *,
    slices: Sequence[Slice],
    record: RunRecord = RunRecord(),
) -> None:
    """Write ``report.html``, and its plots as PNG into a folder of the same name beside it.

    Args:
        path: of the page.
        evaluation: the scores.
        segmenter: what was scored; it predicts the images that are shown once more.
        dataset: what it was scored on.
        slices: of the evaluation, from ``slices_of``.
        record: of the run that the model comes from.

    Raises:
        FiguregroundError: nothing was scored, an image cannot be read, or the folder cannot be written to.
    """
    svg = {}
    for name, figure in draw_figures(evaluation, slices, record.history):
        write_png(path.with_suffix("") / f"{name}.png", figure)
        svg[name] = as_svg(figure)
    dice = evaluation.dice_per_image
    cases = {
        kind: [_case(example) for example in examples_of(segmenter, dataset, dice, indices)]
        for kind, indices in choose_cases(dice).items()
    }
    values = {"svg": svg, "cases": cases, "facts": list(_facts(evaluation, segmenter))}
    write_page(path, "evaluation.html", values | _figures(evaluation) | _slices(evaluation, slices) | _run(record))


def _figures(evaluation: Evaluation) -> dict[str, object]:
    scores, dice = evaluation.scores, evaluation.dice_per_image
    tenth, median = np.quantile(dice, (0.1, 0.5))
    swept = scores.parts.sweep_dice / len(dice)
    best = int(swept.argmax())
    return {
        "title": f"How well {Path(evaluation.model).name} finds the figure",
        "e": evaluation,
        "n": len(dice),
        "sizes": evaluation.by_size(),
        "metrics": METRICS,
        "interval_method": INTERVAL_METHOD,
        "tenth": tenth,
        "median": median,
        "failure": FAILURE,
        "failed": int((dice < FAILURE).sum()),
        "sweep": {"best": THRESHOLDS[best], "dice": swept[best]},
        "poor": POOR,
        "empty_truths": int((scores.column("tp") + scores.column("fn") == 0).sum()),
        "key": ERROR_COLOURS,
        "left_out_rule": LEFT_OUT_RULE,
        "few_images": FEW_IMAGES.split(" (")[0].capitalize() if len(dice) < FEWEST_FOR_INTERVALS else "",
    }


def _slices(evaluation: Evaluation, slices: Sequence[Slice]) -> dict[str, object]:
    clear = sorted((s for s in slices if s.differs), key=lambda s: -abs(s.difference.mean))
    return {
        "slices": slices,
        "harder": [s for s in clear if s.difference.mean < 0],
        "easier": [s for s in clear if s.difference.mean > 0],
        "measured": [s for s in slices if s.attribute in PROPERTIES],
        "named": [s for s in slices if s.attribute not in PROPERTIES],
        "slice_method": SLICE_METHOD[:1].upper() + SLICE_METHOD[1:],
        "correlations": correlations_of(evaluation),
        "properties": PROPERTIES,
        "title_of": title_of,
    }


def _run(record: RunRecord) -> dict[str, object]:
    best = max(record.history, key=lambda row: row["valid_dice"], default=None)
    return {"history": record.history, "best_epoch": best, "config": record.config, "config_name": CONFIG}


def _case(example: Example) -> dict[str, object]:
    """An image in four pictures, with its name and Dice."""
    name = example.name
    errors = error_map(example.prediction, example.mask, example.kept)
    pictures: dict[str, Picture] = {
        "picture": picture(example.image, f"{name}: the photograph", EXAMPLE_SIDE),
        "truth": picture(example.mask, f"{name}: the true mask, the figure in white", EXAMPLE_SIDE),
        "prediction": picture(example.prediction, f"{name}: the predicted mask, the figure in white", EXAMPLE_SIDE),
        "error map": picture(errors, f"{name}: which pixels are missed and which are too much", EXAMPLE_SIDE),
    }
    return {"name": name, "dice": example.dice, "pictures": pictures}


def _facts(evaluation: Evaluation, segmenter: Segmenter) -> Iterator[tuple[str, str]]:
    """What the scores are of; the text is empty where nothing is known."""
    height, width = evaluation.size
    yield "data", f"{evaluation.data}, split “{evaluation.split}”, {len(evaluation.names):,} images"
    yield "border", BORDER.get(evaluation.foreground, evaluation.foreground)
    yield "empty masks", EMPTY_MASK_RULE
    yield "threshold", f"{evaluation.threshold:g}"
    yield "network's size", f"{width}×{height}"
    yield "engine", segmenter.engine
    for member in segmenter.members:
        info = member.info
        trained = ", ".join(f"{count:,} {split}" for split, count in info.data.splits.items())
        yield "model", f"{member.name}: {info.model.name}"
        yield "its arguments", ", ".join(f"{name} {value}" for name, value in info.model.arguments.items())
        yield "its precision", str(info.export.get("precision", ""))
        yield "trained on", f"{info.data.name} ({trained})" if info.data.name else ""
        yield "its licence", info.licence
