"""The README's pictures are what the app looks like now."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def take() -> ModuleType:
    """``screenshots/take.py``, which is a script and no part of a package."""
    spec = importlib.util.spec_from_file_location("take", ROOT / "screenshots" / "take.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["take"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["runs", "run"])
async def test_the_picture_is_up_to_date(name: str, take: ModuleType) -> None:
    known = (ROOT / "screenshots" / f"{name}.svg").read_text(encoding="utf-8")
    assert await take.take(name) == known, "look at the app, then run 'make screenshots'"


def test_the_readme_shows_every_picture(take: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in take.PICTURES:
        assert f"screenshots/{name}.png" in readme
        assert (ROOT / "screenshots" / f"{name}.png").stat().st_size > 10_000
