"""What a checkpoint says of its run, and whether that run can go on with what is there now."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from figureground.config import TrainConfig, flat, parse, plain
from figureground.data import Dataset
from figureground.errors import BROKEN_FILE, BadBundleError, BadDataError, BadSettingsError, UsageError
from figureground.models.weights import Shapes, misfit, shapes_of
from figureground.runs import CHECKPOINT, CONFIG
from figureground.training.callbacks import FACTS
from figureground.version import __version__

FREE = ("epochs", "early_stopping", "precision", "device", "workers", "data.source", "data.cache")
"""Settings that a run may go on without. Whether moved data are the same is seen in the images' names."""
log = logging.getLogger(__name__)


def facts_of(config: TrainConfig, datasets: Sequence[Dataset]) -> dict[str, Any]:
    """What a run is made of, of types that a checkpoint may hold."""
    return {"version": __version__, "settings": plain(config), "data": {each.split: _seen(each) for each in datasets}}


def _seen(dataset: Dataset) -> dict[str, Any]:
    names = hashlib.sha256("\n".join(dataset.names).encode("utf-8", "surrogateescape")).hexdigest()
    return {"images": len(dataset), "names": names, "fingerprint": dataset.fingerprint()}


class Saved(NamedTuple):
    """What there is to know of a checkpoint before it is loaded."""

    facts: Mapping[str, Any]
    shapes: Shapes
    """Of the module's weights."""

    @property
    def epochs(self) -> int:
        """That the run was to have."""
        return int(self.facts["settings"]["epochs"])


def read_checkpoint(folder: Path) -> Saved:
    """A run's checkpoint, without running code that it may hold.

    Raises:
        BadBundleError: it is damaged, or of an earlier version.
    """
    path = folder / CHECKPOINT
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        shapes, facts = shapes_of(found["state_dict"]), found.get(FACTS)
    except BROKEN_FILE:
        raise BadBundleError(f"{path} is damaged, or no checkpoint of a run; {_anew(folder)}") from None
    if facts is None:
        raise BadBundleError(f"{path} is of an earlier version, which kept less in it; {_anew(folder)}")
    return Saved(facts, shapes)


def _anew(folder: Path) -> str:
    return f"start anew with figureground train --config {folder / CONFIG}"


def refuse_other_settings(folder: Path, saved: Saved, config: TrainConfig) -> None:
    """Say which settings have changed since the checkpoint, before any data are read.

    Raises:
        UsageError: fewer epochs are asked for than are done.
        BadSettingsError: one has changed that decides what was trained, or how.
    """
    facts = saved.facts
    before, now = flat(plain(parse(TrainConfig, facts["settings"], CHECKPOINT))), flat(plain(config))
    changed = {name: f"{name} {before.get(name)}, now {now.get(name)}" for name in now if before.get(name) != now[name]}
    fixed = [change for name, change in changed.items() if name not in FREE]
    if fixed:
        raise BadSettingsError(
            f"{folder / CONFIG} has changed since the checkpoint ({'; '.join(fixed)}), with which its run cannot go "
            f"on; change it back, or start another run from its weights with --start-from {folder}"
        )
    if config.epochs < facts["epochs_done"]:
        raise UsageError(
            f"{folder} has {facts['epochs_done']} epochs behind it; expected more than that, not {config.epochs}"
        )
    if changed:
        log.info("going on with other settings: %s", "; ".join(changed.values()))
    if "epochs" in changed:
        log.info(
            "schedule and image sizes are laid anew over all %d epochs, from the step on that was reached",
            config.epochs,
        )


def refuse_other_data(folder: Path, saved: Saved, datasets: Sequence[Dataset]) -> None:
    """Warn of files that have changed.

    Raises:
        BadDataError: there are other images than there were.
    """
    for dataset in datasets:
        before, now = saved.facts["data"][dataset.split], _seen(dataset)
        if before["names"] != now["names"]:
            raise BadDataError(
                f"{dataset.name}: the {dataset.split} images are others than when {folder} was saved "
                f"({before['images']} then, {now['images']} now), with which it cannot go on; bring them back, or "
                f"start another run from its weights with --start-from {folder}"
            )
        if before["fingerprint"] != now["fingerprint"]:
            log.warning("%s: %s images were moved or changed since %s was saved", dataset.name, dataset.split, folder)


def refuse_other_shapes(folder: Path, saved: Saved, module: nn.Module) -> None:
    """Before Lightning reads it, whose errors are long.

    Raises:
        BadBundleError: the weights are not this network's.
    """
    problem = misfit(module, saved.shapes)
    if problem:
        raise BadBundleError(f"{folder / CHECKPOINT} is of another network than {CONFIG}: {problem}; {_anew(folder)}")
