"""What ``figureground predict PHOTO`` does, with the time at each step: run by startup.py in a process of its own.

    python benchmarks/startup_steps.py MODEL ENGINE PHOTO TARGET

Prints one JSON object: by step the time at its end, in seconds since 1970. Libraries are imported one by one to see
what each costs, in the order in which the command gets to them.
"""

import time

stamps = {"interpreter": time.time()}

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

_, model, engine, photo, target = sys.argv


def stamp(step: str) -> None:
    stamps[step] = time.time()


import typer  # noqa: E402, F401

stamp("import typer")
import figureground.cli  # noqa: E402, F401

stamp("import figureground.cli")
import numpy as np  # noqa: E402

stamp("import numpy")
import PIL.Image  # noqa: E402, F401

stamp("import PIL")
from figureground.prediction.batch import predict  # noqa: E402, F401

stamp("import figureground.prediction")
if engine == "openvino":
    import openvino  # noqa: F401
elif engine == "onnxruntime":
    import onnxruntime  # noqa: F401
stamp(f"import {engine}")
from figureground.images import read_image  # noqa: E402
from figureground.prediction import load  # noqa: E402

segmenter = load(model, engine=engine)
stamp("read and compile the model")
image = read_image(Path(photo))
stamp("read the photo")
logits = segmenter.logit_maps([image])[0]
stamp("first inference")
segmenter.prediction(image, np.asarray(logits)).save(Path(target))
stamp("enlarge and write")

import json  # noqa: E402

sys.stdout.write(json.dumps(stamps))
