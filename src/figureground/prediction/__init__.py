"""Photos to masks."""

from __future__ import annotations

from figureground.prediction.outputs import Prediction
from figureground.prediction.segmenter import Segmenter, load, load_state_dict

__all__ = ["Prediction", "Segmenter", "load", "load_state_dict"]
