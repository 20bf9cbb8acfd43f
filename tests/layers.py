"""The rooms of the package, their layers, and the imports between files; for the layer tests and the picture of them.

Function-level imports, ``TYPE_CHECKING`` blocks and ``__main__`` blocks count like any other import. An import of
``package.name`` counts as one of the submodule ``package.name`` if there is one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
NAME: Final = "vi_airflow_provider"

#: The rooms from the bottom up. Rooms of one layer do not import each other.
LAYERS: Final[tuple[frozenset[str], ...]] = tuple(
    map(
        frozenset,
        (
            {"api"},
            {"selection"},
            {"storage"},
            {"cleanup", "gates", "audit", "training"},
            {"hooks", "links", "assets"},
            {"task"},
            {"triggers"},
            {"operators", "sensors", "notifications", "policies"},
            {"ui", "cli"},
        ),
    )
)
#: A room beside the layers, which imports no other.
BESIDE: Final = "emulator"
#: The one room that imports the emulator: its command line starts one.
MAY_START_THE_EMULATOR: Final = "cli"
#: What every module may import: the version, and the metadata of the provider.
EVERYWHERE: Final = {"", "provider_info"}
#: Rooms without Airflow, and rooms that may import one name of it.
WITHOUT_AIRFLOW: Final = {"api", "selection", "gates", "emulator"}
STORAGE_ONLY: Final = {"storage", "cleanup", "audit", "training"}


def files_of(package: str) -> list[Path]:
    """Return the Python files of a package of this repository."""
    return sorted((ROOT / package).rglob("*.py"))


def module_of(file: Path) -> str:
    """Return the dotted name of a file."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the first name below the package; empty for the package itself."""
    return module.removeprefix(NAME).lstrip(".").partition(".")[0]


@cache
def imports_of(file: Path) -> frozenset[str]:
    """Return the modules that a file imports anywhere, relative imports resolved."""
    return frozenset(_imports(file))


def rooms_used_by(file: Path) -> set[str]:
    """Return the rooms of the package from which a file imports, its own included."""
    return {room_of(module) for module in imports_of(file) if module.partition(".")[0] == NAME}


def _imports(file: Path) -> Iterator[str]:
    here = module_of(file).split(".")
    package = here if file.stem == "__init__" else here[:-1]
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            submodules = {name for name in names if is_module(name)}
            yield from submodules
            if names - submodules:
                yield base
            if base == "airflow" or base.startswith("airflow."):
                yield from names


def is_module(name: str) -> bool:
    """Tell whether a dotted name is a module of this repository."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()
