import pytest

from figureground.data import splits


@pytest.fixture(autouse=True)
def divisions(tmp_path_factory, monkeypatch):
    """Where divisions of folders are stored: not in the user's own cache."""
    folder = tmp_path_factory.mktemp("divisions")
    monkeypatch.setattr(splits, "CACHE_FOLDER", folder)
    monkeypatch.setattr(splits, "_said", set())
    return folder / "splits"
