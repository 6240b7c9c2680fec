"""Photos to masks."""

from __future__ import annotations

from figureground.prediction.member import Member, open_member
from figureground.prediction.outputs import Prediction
from figureground.prediction.segmenter import Segmenter, load, load_state_dict
from figureground.prediction.views import Views

__all__ = ["Member", "Prediction", "Segmenter", "Views", "load", "load_state_dict", "open_member"]
