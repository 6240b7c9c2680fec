"""What follows a training run: the fit on valid, and the score on test."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from figureground.bundle import replace_info
from figureground.config import DataConfig, TrainConfig, parse, read_settings
from figureground.data import Dataset, Split, open_dataset
from figureground.evaluation.evaluate import PER_IMAGE, Evaluation, evaluate
from figureground.evaluation.fit import FEWEST, fit_on_valid
from figureground.images import replacing
from figureground.prediction import Member, Segmenter, open_member
from figureground.prediction.member import bundle_path

TEST = "test.json"
log = logging.getLogger(__name__)


def score_run(folder: Path, *, progress: bool = False) -> Evaluation:
    """Fit the operating point of a run's best model on the valid split of its data and score it on the test split.

    The figures go into ``test.json`` and the bundle, those of every image into ``per_image.csv``.

    Raises:
        FiguregroundError: the run holds no model, or its data no valid or test split.
    """
    config = parse(TrainConfig, read_settings(folder / "config.yaml"), str(folder / "config.yaml"))
    member = _fitted(open_member(folder), _open(config.data, "valid"), progress)
    dataset = _open(config.data, "test")
    evaluation = evaluate(Segmenter(member), dataset, progress=progress, per_image=folder / PER_IMAGE)
    figures = evaluation.to_json()
    write_json(folder / TEST, figures)
    summary = replace(member.info.data, splits={**member.info.data.splits, "test": len(dataset)})
    scores = {**member.info.scores, "test": figures}
    replace_info(bundle_path(folder), replace(member.info, data=summary, scores=scores))
    return evaluation


def _open(data: DataConfig, split: Split) -> Dataset:
    return open_dataset(data.source, split, foreground=data.foreground, mask_threshold=data.mask_threshold)


def _fitted(member: Member, valid: Dataset, progress: bool) -> Member:
    """The model with what can be fitted to the images that there are."""
    if len(valid) < FEWEST:
        log.info("valid has %d images, too few to fit a threshold (%d): it stays 0.5", len(valid), FEWEST)
        return member
    return replace(member, info=fit_on_valid(member, valid, progress=progress).info)


def write_json(path: Path, figures: object) -> None:
    """Write figures for programs and people."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(figures, indent=2) + "\n")
