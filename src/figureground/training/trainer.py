"""Lightning's Trainer with our settings: device, precision, and what it may say."""

from __future__ import annotations

import ctypes
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger

from figureground.config import TrainConfig
from figureground.cores import usable_cores
from figureground.errors import FiguregroundError
from figureground.models.encoder_weights import quietly
from figureground.precision import multiplies_bfloat16

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT = 2**30  # bytes, the largest that mallopt takes for both


def make_trainer(
    config: TrainConfig,
    on_gpu: bool,
    callbacks: Sequence[lightning.Callback],
    *,
    epochs: int,
    steps: int = -1,
    logger: Logger | None = None,
    devices: int = 1,
    num_nodes: int = 1,
) -> lightning.Trainer:
    """A trainer that ends after ``epochs`` or ``steps`` (-1: no limit); files are the callbacks' work."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    with without_advice():
        return lightning.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=devices,
            num_nodes=num_nodes,
            precision=precision(config, on_gpu),
            benchmark=on_gpu,  # cuDNN tries its kernels once for each size; there are few
            max_epochs=epochs,
            max_steps=steps,
            accumulate_grad_batches=config.accumulate,
            callbacks=list(callbacks),
            logger=logger or False,
            enable_checkpointing=False,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )


def uses_gpu(config: TrainConfig) -> bool:
    """Whether a run trains on a GPU.

    Raises:
        FiguregroundError: a GPU is asked for and there is none.
    """
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    if config.device == "gpu" and not on_gpu:
        raise FiguregroundError("there is no GPU that torch can use; leave out --device, or install a torch with CUDA")
    return on_gpu


def precision(config: TrainConfig, on_gpu: bool) -> Literal["bf16-mixed", "32-true"]:
    """Lightning's name for the precision to train in."""
    if config.precision == "auto":
        return "bf16-mixed" if multiplies_bfloat16(on_gpu) else "32-true"
    return "bf16-mixed" if config.precision == "bfloat16" else "32-true"


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one: pages that are new each time cost a fifth of a step.

    Linux with glibc; elsewhere nothing is changed.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "mallopt"):
        for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            library.mallopt(parameter, KEPT)


@contextmanager
def without_advice() -> Iterator[None]:
    """Lightning's start-up lines and its advice on settings that are chosen here on purpose, kept from the user."""
    with (
        quietly("lightning.pytorch", logging.WARNING),
        quietly("lightning.fabric", logging.WARNING),
        warnings.catch_warnings(),
    ):
        for message in (
            ".*does not have many workers.*",  # on a CPU more would take time from the network
            ".*dataloader is not resumable.*",  # ours is; Lightning's check looks at the wrapper
            ".*Checkpoint directory .* exists.*",
            ".*treespec.*is deprecated.*",
        ):
            warnings.filterwarnings("ignore", message)
        yield
