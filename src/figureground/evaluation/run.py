"""The test score of a training run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from figureground.bundle import read_info, read_tensors, write_bundle
from figureground.config import TrainConfig, parse, read_settings
from figureground.data import open_dataset
from figureground.evaluation.evaluate import PER_IMAGE, Evaluation, evaluate
from figureground.evaluation.report import REPORT, read_record, write_report
from figureground.evaluation.slices import known_metadata, slices_of
from figureground.images import replacing
from figureground.prediction import load
from figureground.prediction.member import bundle_path

TEST = "test.json"


def score_run(folder: Path, *, progress: bool = False) -> Evaluation:
    """Score a run's best model on the test split of its data; the figures go into ``test.json`` and the bundle,
    those of every image into ``per_image.csv``, and all that a colleague needs into ``report.html``.

    Raises:
        FiguregroundError: the run holds no model, or its data no test split.
    """
    config = parse(TrainConfig, read_settings(folder / "config.yaml"), str(folder / "config.yaml"))
    data = config.data
    dataset = open_dataset(data.source, "test", foreground=data.foreground, mask_threshold=data.mask_threshold)
    segmenter = load(folder)
    evaluation = evaluate(segmenter, dataset, progress=progress, per_image=folder / PER_IMAGE)
    figures = evaluation.to_json()
    slices = slices_of(evaluation, known_metadata(evaluation))
    write_json(folder / TEST, figures | {"slices": [found.to_json() for found in slices]})
    bundle = bundle_path(folder)
    info = read_info(bundle)
    summary = replace(info.data, splits={**info.data.splits, "test": len(dataset)})
    write_bundle(bundle, read_tensors(bundle), replace(info, data=summary, scores={**info.scores, "test": figures}))
    write_report(folder / REPORT, evaluation, segmenter, dataset, slices=slices, record=read_record(folder))
    return evaluation


def write_json(path: Path, figures: object) -> None:
    """Write figures for programs and people."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(figures, indent=2) + "\n")
