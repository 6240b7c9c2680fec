"""One model of several: the mean of their weights (Wortsman et al., "Model soups", ICML 2022).

Networks that were trained on from the same weights lie in one valley of the loss: their errors differ, and the mean of
their weights makes fewer of them, as their ensemble would, at the cost of one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from figureground.bundle import BundleInfo, read_info, read_shapes, read_tensors, write_bundle
from figureground.config import DataConfig, plain, require
from figureground.data import Dataset, open_dataset
from figureground.errors import FiguregroundError
from figureground.evaluation.comparing import require_several
from figureground.evaluation.scoring.evaluation import evaluate
from figureground.files import UNSPEAKABLE, replacing
from figureground.prediction import Member, Segmenter
from figureground.runs import BUNDLE_IN_RUN, CONFIG, bundle_path, claimed
from figureground.version import __version__

log = logging.getLogger(__name__)


def average(
    models: Sequence[str], folder: Path, data: DataConfig, *, choose: bool = True, progress: bool = False
) -> tuple[str, ...]:
    """Leave a run with the mean of the weights of models that help each other, and say which these are.

    The best on valid is the first. The others follow in the order of their Dice there, and each stays if the mean with
    it has no lower Dice than without it (the greedy soup).

    Args:
        models: runs or ``.safetensors`` bundles of the same network.
        folder: of the run, new.
        data: whose valid split decides.
        choose: otherwise all are taken, as of folds, of which no image is new to all of them.
        progress: show bars.

    Raises:
        FiguregroundError: as of ``require_alike``; there is no valid split; the folder is taken; or no mean is as good
            as the best model alone.
    """
    bundles = require_alike(models)
    if folder.exists():
        raise FiguregroundError(f"{folder} exists; choose another --name, or remove what a killed command has left")
    folds = data.cross_validates
    judge = open_dataset(data, "train" if folds else "valid")
    with claimed(folder):
        if folds:
            _require_one_valley(bundles, judge, progress)
        chosen = _helping(models, bundles, judge, progress) if choose and not folds else range(len(models))
        taken = tuple(models[index] for index in chosen)
        write_average([bundles[index] for index in chosen], folder, data, taken)
    return taken


def write_average(bundles: Sequence[Path], folder: Path, data: DataConfig, names: Sequence[str] = ()) -> None:
    """A folder like a run's with the mean of the weights of ``.safetensors`` bundles.

    Args:
        bundles: of one network.
        folder: may be there; what it holds of the same names is replaced.
        data: that the commands which take the folder look at.
        names: of the models, for readers (default: the bundles').
    """
    first = read_info(bundles[0])
    info = BundleInfo(first.model, first.preprocessing, data=first.data, figureground=__version__)
    write_bundle(folder / BUNDLE_IN_RUN, mean_weights(bundles), info)
    with replacing(folder / CONFIG) as partial:
        partial.write_text(_settings(info, data, names or [str(path) for path in bundles]), errors=UNSPEAKABLE)


def mean_weights(bundles: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """The mean of each tensor of ``.safetensors`` bundles of one network, in the first's types."""
    first = read_tensors(bundles[0])
    sums = {name: tensor.astype(np.float64) for name, tensor in first.items()}
    for path in bundles[1:]:  # one at a time in memory
        for name, tensor in read_tensors(path).items():
            sums[name] += tensor
    return {name: np.asarray(total / len(bundles), first[name].dtype) for name, total in sums.items()}


def _helping(models: Sequence[str], bundles: Sequence[Path], valid: Dataset, progress: bool) -> list[int]:
    """The places of those whose mean is taken; the best is the first."""

    def dice(places: Sequence[int]) -> float:
        return _dice_of_mean([bundles[place] for place in places], valid, progress)

    alone = [dice([place]) for place in range(len(models))]
    for model, found in zip(models, alone, strict=True):
        log.info("%s: valid Dice %.4f", model, found)
    best, *others = sorted(range(len(models)), key=lambda place: alone[place], reverse=True)
    chosen, reached = [best], alone[best]
    log.info("the mean begins with %s", models[best])
    for place in others:
        tried = dice([*chosen, place])
        stays = tried >= reached
        log.info("with %s: valid Dice %.4f, %s", models[place], tried, "taken" if stays else "left out")
        if stays:
            chosen, reached = [*chosen, place], tried
    if len(chosen) == 1:
        raise FiguregroundError(
            f"no mean has the valid Dice of {models[best]} alone ({reached:.4f}), so none is written; weights can be "
            "averaged that were trained on from the same ones (--start-from), with different seeds for example"
        )
    return chosen


def _require_one_valley(bundles: Sequence[Path], seen: Dataset, progress: bool) -> None:
    """Refuse folds whose mean, which knows all images, is worse on them than each network on those it does not know.

    Raises:
        FiguregroundError: so it is.
    """
    apart = float(np.mean([read_info(path).scores["test"]["dice"]["mean"] for path in bundles]))
    together = _dice_of_mean(bundles, seen, progress)
    log.info("the mean of all folds: Dice %.4f on their images; out of fold: %.4f", together, apart)
    if together < apart:
        raise FiguregroundError(
            f"the mean of these folds has Dice {together:.4f} on images that it knows, where each of them has "
            f"{apart:.4f} on those it does not: their weights have no mean, so none is written. Use the folder of "
            "folds as it is, or train folds from one network (--start-from)"
        )


def _dice_of_mean(bundles: Sequence[Path], dataset: Dataset, progress: bool) -> float:
    """Of the mean of their weights, with nothing that was fitted to one of them."""
    from figureground.prediction.photos.engines.torch_engine import TorchEngine, as_tensors

    first, name = read_info(bundles[0]), str(bundles[0])
    info = BundleInfo(first.model, first.preprocessing)
    member = Member(info, TorchEngine.of_weights(as_tensors(mean_weights(bundles)), info.model, name), name)
    return float(evaluate(Segmenter(member), dataset, progress=progress).dice_per_image.mean())


def require_alike(models: Sequence[str]) -> list[Path]:
    """The bundles of models whose weights can be averaged.

    Raises:
        FiguregroundError: fewer than two models, one given twice, another network or size, or an exported file.
    """
    bundles = [bundle_path(model) for model in models]
    require_several(bundles, "average")
    for path in bundles:
        require(path.suffix == ".safetensors", f"{path} is an exported file; expected runs or .safetensors bundles")
    first = bundles[0]
    info, shapes = read_info(first), read_shapes(first)
    for path in bundles[1:]:
        other, found = read_info(path), read_shapes(path)
        same = (other.model, other.preprocessing) == (info.model, info.preprocessing)
        require(same, f"{path} is of {_described(other)}, {first} of {_described(info)}; expected the same network")
        differing = sorted(name for name in {*shapes, *found} if shapes.get(name) != found.get(name))
        require(
            not differing,
            f"{path} does not hold the network that its metadata name, or {first} does not: {len(differing)} weights "
            f"differ in shape (such as {next(iter(differing), '')}); make it again from its run",
        )
    return bundles


def _described(info: BundleInfo) -> str:
    return f"{info.model.name} {info.model.arguments} with {plain(info.preprocessing)}"


def _settings(info: BundleInfo, data: DataConfig, names: Sequence[str]) -> str:
    """What a run's ``config.yaml`` has that is true of a mean."""
    import yaml

    of = ", ".join(map(repr, names))
    known = {"data": plain(data), "model": plain(info.model), "preprocessing": plain(info.preprocessing)}
    return f"# The mean of the weights of {of}.\n{yaml.safe_dump(known, sort_keys=False)}"
