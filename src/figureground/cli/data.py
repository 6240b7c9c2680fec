"""``figureground data``: get data, and tidy up behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figureground.cli.common import app, needs

data_app = typer.Typer(help="Get data, and tidy up behind it.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("oxford-pet")
def oxford_pet(
    root: Annotated[Path, typer.Option(help="Folder that holds the dataset, or shall.")],
    download: Annotated[bool, typer.Option("--download", help="Get what is missing (800 MB).")] = False,
) -> None:
    """Get the Oxford-IIIT Pet dataset, or check that a folder holds it."""
    with needs("train"):
        from figureground.data import SPLITS, open_dataset
        from figureground.data.oxford_pet import download as fetch

        folder = fetch(root) if download else root
        sizes = {split: len(open_dataset(folder, split)) for split in SPLITS}
    typer.echo(f"{folder}: " + ", ".join(f"{size} {split}" for split, size in sizes.items()))


@data_app.command("clear-cache")
def clear_cache(
    folder: Annotated[Path | None, typer.Option(help="As --cache of train (default: ~/.cache/figureground).")] = None,
) -> None:
    """Remove the decoded images that training keeps."""
    with needs("train"):
        from figureground.data.cache import DEFAULT_FOLDER
        from figureground.data.cache import clear_cache as clear

        place = folder or DEFAULT_FOLDER
        entries, freed = clear(place)
    typer.echo(f"{entries} entries removed from {place}, {freed / 1e6:.0f} MB freed")
