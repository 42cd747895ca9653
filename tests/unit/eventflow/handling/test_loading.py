"""Functions of the user, as the settings name them."""

import sys
from functools import partial
from pathlib import Path

import pytest

from eventflow.errors import HandlerError
from eventflow.handling.loading import load_function, load_object

SHOP = """
import functools

async def handle(event, context): ...
def on_thread(event, context): ...
def one(event): ...
def more(event, context, limit): ...
def usual(event, context, limit=3): ...
def many(*arguments): ...
def generator(event, context): yield event
async def async_generator(event, context): yield event
class Shop:
    async def handle(self, event, context): ...
    def __call__(self, event, context): ...
shop = Shop()
half = functools.partial(more, limit=1)
half_async = functools.partial(shop.handle)
nothing = None
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory, whose name no other test uses."""
    name = f"shop_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in {"", str(tmp_path)}])
    return name


@pytest.mark.parametrize(
    ("name", "is_async"),
    [
        ("handle", True),
        ("on_thread", False),
        ("usual", False),
        ("many", False),
        ("shop", False),
        ("shop.handle", True),
        ("half", False),
        ("half_async", True),
    ],
)
def test_a_function_in_the_working_directory_is_found(shop: str, name: str, is_async: bool) -> None:
    function = load_function(f"{shop}:{name}")
    assert function.is_async == is_async
    assert callable(function.call)
    assert isinstance(function.call, partial) or function.file.endswith(f"{shop}.py")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "has no missing; it is the module in"),
        ("shop.missing", "has no shop.missing"),
        ("one", "(event) does not take two arguments"),
        ("more", "(event, context, limit) does not take two arguments"),
        ("nothing", "is no function, but None"),
        ("__name__", "is no function, but an object of type str"),
        ("Shop", "is a class"),
        ("generator", "has a `yield`"),
        ("async_generator", "has a `yield`"),
    ],
)
def test_an_error_says_what_is_wrong(shop: str, name: str, words: str) -> None:
    with pytest.raises(HandlerError) as raised:
        load_function(f"{shop}:{name}")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_module_is_named(shop: str, tmp_path: Path) -> None:
    (tmp_path / f"{shop}_importing.py").write_text("import no_such_library_anywhere\n")
    (tmp_path / f"{shop}_raising.py").write_text("raise RuntimeError('no settings')\n")
    (tmp_path / f"{shop}_leaving.py").write_text("raise SystemExit(3)\n")
    for reference, words in (
        ("no_such_module_anywhere:handle", "there is no module no_such_module_anywhere, neither in the working"),
        (f"{shop}.sub:handle", f"there is no module {shop}.sub"),
        (f"{shop}_importing:handle", "imports no_such_library_anywhere, which is not installed"),
        (f"{shop}_raising:handle", "has raised RuntimeError: no settings"),
        (f"{shop}_leaving:handle", "has raised SystemExit: 3"),
    ):
        with pytest.raises(HandlerError) as raised:
            load_object(reference)
        assert words in str(raised.value)
