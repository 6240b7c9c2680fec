"""``figureground export``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from figureground.cli.common import MaskThresholdOption, app, needs, refuse_existing
from figureground.errors import FiguregroundError

if TYPE_CHECKING:
    from figureground.config import DataConfig


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="A run folder or a .safetensors bundle.")],
    precision: Annotated[str, typer.Option(help="float32, float16 (weights only) or int8.")] = "float32",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The .onnx file (default: in the run).")] = None,
    data: Annotated[
        str | None, typer.Option(help="What it is compared and calibrated on (default: the run's data).")
    ] = None,
    foreground: Annotated[str | None, typer.Option(help="What a trimap's border counts as.")] = None,
    mask_threshold: MaskThresholdOption = None,
    accept_loss: Annotated[bool, typer.Option("--accept-loss", help="Write it even if the Dice falls.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Write a model as one .onnx file, if it passes: compared with the original on valid, in every engine.

    Its mean Dice may fall by 0.0005 (float32, float16) or 0.005 (int8); otherwise there is no file.
    """
    suffix = "" if precision == "float32" else f"-{precision}"
    target = output or (model if model.is_dir() else model.parent) / f"model{suffix}.onnx"
    with needs("train"):
        from figureground.export import export as export_model
        from figureground.export import original_bundle

        original_bundle(model)  # before the data and the target are looked at, which may not be the user's mistake
        refuse_existing(target, overwrite)
        source = _data(model, data, foreground, mask_threshold)
        export_model(
            model, target, source, precision=precision,  # type: ignore[arg-type]  # checked there
            accept_loss=accept_loss, progress=sys.stderr.isatty(), say=typer.echo,
        )  # fmt: skip
    typer.echo(f"written: {target} ({target.stat().st_size / 1e6:.1f} MB)")


def _data(model: Path, data: str | None, foreground: str | None, mask_threshold: int | None) -> DataConfig:
    """The run's data, with what the user gave laid over it."""
    from dataclasses import replace

    from figureground.config import DataConfig, TrainConfig, parse, read_settings

    config = model / "config.yaml"
    if config.is_file():
        base = parse(TrainConfig, read_settings(config), str(config)).data
    elif data is not None:
        base = DataConfig()
    else:
        raise FiguregroundError(f"{model} does not say which data it was trained on; name a folder with --data")
    given = {"source": data, "foreground": foreground, "mask_threshold": mask_threshold}
    return replace(base, **{key: value for key, value in given.items() if value is not None})  # type: ignore[arg-type]
