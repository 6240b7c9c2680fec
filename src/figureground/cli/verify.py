"""``figureground verify``."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from figureground.cli.common import app, start_anew
from figureground.cli.options import computes
from figureground.errors import FiguregroundError


@app.command()
@computes
def verify(
    models: Annotated[list[str], typer.Argument(help="Run folders, bundles or names.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the findings here.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the JSON file.")] = False,
) -> None:
    """Check that models are what was written: the sum of the weights, and test vectors in every engine.

    Exit status 1 if something differs. Files of earlier versions carry no sum, which is said.
    """
    start_anew(overwrite, json_file)
    from figureground.files import write_json
    from figureground.prediction.photos.verify import Verification
    from figureground.prediction.photos.verify import verify as examine
    from figureground.runs import members_of

    found = []
    for model in chain.from_iterable(map(members_of, models)):
        try:
            found.append(examine(model))
        except FiguregroundError as error:
            found.append(Verification(model, "wrong", str(error)))
        typer.echo("\n".join(found[-1].lines()))
    if json_file:
        write_json(json_file, {"models": [each.to_json() for each in found]})
    if not all(each.well for each in found):
        raise typer.Exit(1)
