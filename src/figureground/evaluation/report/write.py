"""``report.html``: what a colleague needs to judge a model, without the tool."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from figureground.data import Dataset
from figureground.evaluation.report.cases import choose_cases, draw_panels
from figureground.evaluation.report.estimates import estimates_section, fitted_section
from figureground.evaluation.report.page import (
    Plot,
    Section,
    bullets,
    case,
    error_key,
    facts,
    heading,
    preformatted,
    table,
    write_page,
)
from figureground.evaluation.report.plots import (
    draw_histogram,
    draw_losses,
    draw_reliability,
    draw_slices,
    draw_sweep,
    draw_valid_dice,
)
from figureground.evaluation.scoring.evaluation import Evaluation
from figureground.evaluation.scoring.properties import PROPERTIES
from figureground.evaluation.scoring.scores import EMPTY_MASK_RULE, LEFT_OUT_RULE, METRICS, Scores
from figureground.evaluation.scoring.slices import SLICE_METHOD, Slice, correlations_of
from figureground.evaluation.statistics import FEW_IMAGES, FEWEST_FOR_INTERVALS, INTERVAL_METHOD
from figureground.metrics import THRESHOLDS, Reliability
from figureground.prediction import Segmenter
from figureground.runs import CONFIG, HISTORY_TABLE

FAILED = 0.5  # a Dice below which an image is called a failure
TITLES = {name: found.title for name, found in PROPERTIES.items()}
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
        with history.open(newline="", encoding="utf-8") as file:
            rows = [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    return RunRecord(rows, config.read_text(encoding="utf-8") if config.is_file() else "")


def write_report(
    path: Path,
    evaluation: Evaluation,
    segmenter: Segmenter,
    dataset: Dataset,
    *,
    slices: Sequence[Slice],
    record: RunRecord = RunRecord(),
    more: Sequence[Section] = (),
) -> None:
    """Write ``report.html``, and its plots as PNG into a folder of the same name beside it.

    Args:
        path: of the page.
        evaluation: the scores.
        segmenter: what was scored; it predicts the images that are shown once more.
        dataset: what it was scored on.
        slices: of the evaluation, from ``slices_of``.
        record: of the run that the model comes from.
        more: further sections, after the threshold and the reliability.

    Raises:
        FiguregroundError: nothing was scored, an image cannot be read, or the folder cannot be written to.
    """
    sections = [
        _figures(evaluation),
        *_curves(record),
        _distribution(evaluation),
        *_operating_point(evaluation),
        *fitted_section(evaluation.fitted),
        *estimates_section(evaluation.quality),
        *more,
        _slices(evaluation, slices),
        _cases(evaluation, segmenter, dataset),
        _configuration(evaluation, segmenter, record),
        _limits(evaluation),
    ]
    write_page(path, f"How well {Path(evaluation.model).name} finds the figure", _headline(evaluation), sections)


def _headline(evaluation: Evaluation) -> str:
    low, high = evaluation.dice.ci95
    height, width = evaluation.size
    return (
        f'<div class="headline"><p><strong>Dice {evaluation.dice.mean:.4f}</strong> 95% interval {low:.4f} to '
        f"{high:.4f}, mean of {len(evaluation.names):,} images of the split “{evaluation.split}” at {width}×{height} "
        "pixels</p><p>The model marks which pixels of a photograph are the figure. Dice says how much of what it marks "
        "and of the truth is shared: 1 is a perfect mask, 0 means that nothing is shared. It is taken for each image, "
        "then the mean over the images. The interval says within what limits the mean would be expected for other "
        "photographs of the same kind.</p></div>"
    )


def _figures(evaluation: Evaluation) -> Section:
    sizes = {f"at {evaluation.size[1]}×{evaluation.size[0]}": evaluation.scores}
    if evaluation.native and not np.array_equal(evaluation.native.rows, evaluation.scores.rows):
        sizes["at the photos' own size"] = evaluation.native
    head = ["figure", *(column for size in sizes for column in (size, "95% interval", "pooled"))]
    rows = [
        [METRICS[name].title + (f" ({METRICS[name].unit})" if METRICS[name].unit else ""),
         *(cell for scores in sizes.values() for cell in _cells(scores, name))]
        for name in METRICS
    ]  # fmt: skip
    words = (
        "Higher is better, but for the distances HD95 and ASD, the Brier score and the calibration error ECE. “Pooled” "
        "takes all pixels of all images together, so that large figures count for more.",
        f"Intervals: {INTERVAL_METHOD}.",
    )
    return Section("All figures", words, html=table(head, rows, "Every figure with its interval"))


def _cells(scores: Scores, name: str) -> tuple[str, str, str]:
    digits = 2 if METRICS[name].unit else 4
    mean = scores.means[name]
    pooled = f"{scores.pooled[name]:.{digits}f}" if name in scores.pooled else "–"
    return f"{mean.mean:.{digits}f}", f"{mean.ci95[0]:.{digits}f} to {mean.ci95[1]:.{digits}f}", pooled


def _curves(record: RunRecord) -> list[Section]:
    if not record.history:
        return []
    best = max(record.history, key=lambda row: row["valid_dice"])
    last = len(record.history)
    words = (
        f"The model is that of epoch {best['epoch']:.0f} of {last}, the best on “valid”: Dice {best['valid_dice']:.4f}."
    )
    plots = (
        Plot("losses", draw_losses(record.history),
             f"Losses of train and valid over {last} epochs; the last are {record.history[-1]['train_loss']:.4f} and "
             f"{record.history[-1]['valid_loss']:.4f}.", "Loss by epoch."),
        Plot("valid_dice", draw_valid_dice(record.history),
             f"Valid Dice over {last} epochs; the best is {best['valid_dice']:.4f} in epoch {best['epoch']:.0f}.",
             "Dice on “valid” by epoch."),
    )  # fmt: skip
    return [Section("Training", (words,), plots)]


def _distribution(evaluation: Evaluation) -> Section:
    dice = evaluation.dice_per_image
    tenth, median = np.quantile(dice, (0.1, 0.5))
    failed = int((dice < FAILED).sum())
    words = (
        f"Half of the images have a Dice above {median:.4f}; one in ten is below {tenth:.4f}. "
        f"{failed:,} of {len(dice):,} images ({failed / len(dice):.1%}) are below {FAILED:g}: failures."
    )
    plot = Plot(
        "histogram",
        draw_histogram(dice, evaluation.dice),
        f"Histogram of the Dice of {len(dice):,} images: mean {evaluation.dice.mean:.4f}, median {median:.4f}.",
        "How many images have which Dice.",
    )
    return Section("Distribution", (words,), (plot,))


def _operating_point(evaluation: Evaluation) -> list[Section]:
    parts = evaluation.scores.parts
    if parts is None:
        return []
    means = parts.sweep_dice / len(evaluation.names)
    best = int(means.argmax())
    found = Reliability(*parts.reliability)
    ece = evaluation.scores.pooled["ece"]
    words = (
        f"The network gives each pixel a probability; above {evaluation.threshold:g}, the threshold, it is figure. "
        f"Of the thresholds that were tried {THRESHOLDS[best]:g} is the best on these images, with a mean Dice "
        f"of {means[best]:.4f}; as it is chosen by these very images, expect less of it on others.",
        "A model is calibrated if of the pixels it gives 80% really 80% are figure. Below the dashed line it is too "
        f"sure of the figure. The mean gap is {ece:.4f} (ECE, all pixels together).",
    )
    plots = (
        Plot("threshold", draw_sweep(means, parts.sweep, evaluation.threshold),
             f"Dice over the threshold: {means[0]:.4f} at 0.05, {means[-1]:.4f} at 0.95, "
             f"the best {means[best]:.4f} at {THRESHOLDS[best]:g}.",
             "Dice by threshold, before any clean-up of masks."),
        Plot("reliability", draw_reliability(found),
             f"Reliability diagram in {len(found.pixels)} bins; the mean gap to a calibrated model is {ece:.4f}.",
             "Share of figure among the pixels of a probability."),
    )  # fmt: skip
    return [Section("Threshold and reliability", words, plots)]


def _slices(evaluation: Evaluation, slices: Sequence[Slice]) -> Section:
    if not slices:
        return Section("Slices", ("There are too few images to compare groups of them.",))
    words = (
        "A slice holds the images that have something in common: a third of a property's values, or one value of a "
        "column. Each is compared with all other images. The properties are measured with the true masks.",
        "What goes along with a low Dice need not be its cause: properties go along with each other.",
        _sentence("Harder than the rest", [s for s in slices if s.differs and s.difference.mean < 0]),
        _sentence("Easier than the rest", [s for s in slices if s.differs and s.difference.mean > 0]),
    )
    measured = [found for found in slices if found.attribute in PROPERTIES]
    named = [found for found in slices if found.attribute not in PROPERTIES]
    plots = (
        *_slice_plot("slices_properties", "properties", measured, evaluation),
        *_slice_plot("slices_metadata", "what is known of the images", named, evaluation),
    )
    rows = [[f"{_title(s.attribute)}: {s.label}", f"{s.n:,}", f"{s.mean.mean:.4f}", _range(s.mean.ci95, ".4f"),
             f"{s.difference.mean:+.4f}", _range(s.difference.ci95, "+.4f"), f"{s.p:.4f}"] for s in slices]  # fmt: skip
    head = ["slice", "images", "Dice", "95% interval", "difference", "95% interval", "p"]
    html = heading("All slices") + table(head, rows, "Every slice against the other images")
    html += f'<p class="soft">{SLICE_METHOD[:1].upper()}{SLICE_METHOD[1:]}.</p>'
    return Section("Slices", words, plots, html + _correlations(evaluation))


def _title(attribute: str) -> str:
    return TITLES.get(attribute, attribute)


def _range(bounds: tuple[float, float], digits: str) -> str:
    return f"{bounds[0]:{digits}} to {bounds[1]:{digits}}"


def _sentence(start: str, slices: Sequence[Slice], most: int = 8) -> str:
    """The clearest slices in words."""
    if not slices:
        return f"{start}: none that the data can tell."
    ordered = sorted(slices, key=lambda found: -abs(found.difference.mean))
    shown = "; ".join(f"{_title(s.attribute)}, {s.label} ({s.difference.mean:+.4f})" for s in ordered[:most])
    return f"{start}: {shown}{f'; and {len(ordered) - most} more' if len(ordered) > most else ''}."


def _slice_plot(name: str, what: str, slices: Sequence[Slice], evaluation: Evaluation) -> list[Plot]:
    if not slices:
        return []
    lowest, highest = (choose(slices, key=lambda found: found.mean.mean) for choose in (min, max))
    description = (
        f"Mean Dice of {len(slices)} slices by {what}: the lowest is {_title(lowest.attribute)}, {lowest.label} with "
        f"{lowest.mean.mean:.4f}, the highest {_title(highest.attribute)}, {highest.label} with "
        f"{highest.mean.mean:.4f}."
    )
    caption = (
        f"Mean Dice with its interval by {what}; in brackets the number of images. Dashed: all images. Orange is below "
        "the other images, blue above; filled where the data can tell."
    )
    return [Plot(name, draw_slices(slices, evaluation.dice, TITLES), description, caption)]


def _correlations(evaluation: Evaluation) -> str:
    rows = [[_title(c.attribute), PROPERTIES[c.attribute].definition, f"{c.rho:+.3f}", _range(c.ci95, "+.3f")]
            for c in correlations_of(evaluation)]  # fmt: skip
    head = ["property", "what it is", "rank correlation with Dice", "95% interval"]
    return (
        heading("Properties") + table(head, rows, "Properties and their rank correlation with Dice", 2) if rows else ""
    )


def _cases(evaluation: Evaluation, segmenter: Segmenter, dataset: Dataset) -> Section:
    html = error_key()
    for name, indices in choose_cases(evaluation.dice_per_image).items():
        if indices:
            pictures = map(case, draw_panels(segmenter, dataset, evaluation.dice_per_image, indices))
            html += heading(f"{name.capitalize()} cases") + f'<div class="cases">{"".join(pictures)}</div>\n'
    words = (
        "The images with the lowest Dice, those around the median, and those with the highest; none is picked by hand."
    )
    return Section("Cases", (words, _empty_truths(evaluation)), html=html)


def _empty_truths(evaluation: Evaluation) -> str:
    empty = int((evaluation.scores.column("tp") + evaluation.scores.column("fn") == 0).sum())
    if not empty:
        return "Every image has a figure in its true mask."
    return (
        f"In {empty:,} of {len(evaluation.names):,} images the true mask is empty: any figure that is predicted there "
        "scores 0. Is there really no figure in them?"
    )


def _configuration(evaluation: Evaluation, segmenter: Segmenter, record: RunRecord) -> Section:
    height, width = evaluation.size
    rows = [
        ("data", f"{evaluation.data}, split “{evaluation.split}”, {len(evaluation.names):,} images"),
        ("border", BORDER.get(evaluation.foreground, evaluation.foreground)),
        ("empty masks", EMPTY_MASK_RULE),
        ("threshold", f"{evaluation.threshold:g}"),
        ("network's size", f"{width}×{height}"),
        ("engine", segmenter.engine),
    ]
    for member in segmenter.members:
        info = member.info
        trained = ", ".join(f"{count:,} {split}" for split, count in info.data.splits.items())
        rows += [
            ("model", f"{member.name}: {info.model.name}"),
            ("its arguments", ", ".join(f"{name} {value}" for name, value in info.model.arguments.items())),
            ("its precision", str(info.export.get("precision", ""))),
            ("trained on", f"{info.data.name} ({trained})" if info.data.name else ""),
            ("its licence", info.licence),
        ]
    html = facts((name, text) for name, text in rows if text)
    if record.config:
        html += heading(CONFIG) + preformatted(record.config)
    return Section("Data and configuration", html=html)


def _limits(evaluation: Evaluation) -> Section:
    limits = [
        f"Tested on {len(evaluation.names):,} images of {evaluation.data}, and on nothing else. Other subjects, "
        "cameras, drawings, films, and photographs without any figure may go worse.",
        "The interval is about other images of the same kind. Another training of the same network, with another "
        "seed, may give a mean outside it.",
        "The masks that count as truth were drawn by people, and are themselves wrong in places; some of the worst "
        "cases may be theirs.",
        "Not tested here: speed, memory, changed or damaged images, and any kind of image that no slice names.",
    ]
    if evaluation.split != "test":
        limits.insert(0, f"These are images of the split “{evaluation.split}”, which the training has seen or was "
                         "chosen by: expect less on new ones.")  # fmt: skip
    if evaluation.native is None:
        limits.append(f"Scored at {evaluation.size[1]}×{evaluation.size[0]} pixels only, not at the photos' own size.")
    if evaluation.foreground == "ignore":
        limits.append(f"Not counted: {LEFT_OUT_RULE}.")
    if len(evaluation.names) < FEWEST_FOR_INTERVALS:
        limits.append(f"{FEW_IMAGES.split(' (')[0].capitalize()}.")
    return Section("Limits", html=bullets(limits))
