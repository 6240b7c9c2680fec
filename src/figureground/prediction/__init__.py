"""Photos to masks."""

from __future__ import annotations

from figureground.prediction.photos.member import Member, open_member
from figureground.prediction.photos.result import Prediction
from figureground.prediction.photos.segmenter import Segmenter, load, load_state_dict
from figureground.prediction.photos.views import Views

__all__ = ["Member", "Prediction", "Segmenter", "Views", "load", "load_state_dict", "open_member"]
