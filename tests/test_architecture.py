"""Dependencies point one way: config <- model <- generation <- {engine <- server, evaluation}, and model, data <-
training."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent / "src" / "rxt"

BASE = {"errors", "config", "presets", "folders", "files"}
MAY_IMPORT = {
    "errors": set[str](),
    "config": {"errors"},
    "presets": {"config", "errors"},
    "folders": {"errors"},
    "files": {"errors"},
    "model": BASE,
    "data": BASE,
    "tools": {"errors"},
    "tasks": BASE | {"data", "tools"},
    "interop": BASE | {"model", "data"},
    "generation": BASE | {"model", "data", "tools"},
    "understanding": BASE | {"model", "data", "interop"},
    "pretrained": BASE | {"model", "data", "interop", "tools", "generation"},
    "training": BASE | {"interop", "model", "data", "tasks", "generation", "evaluation", "baselines", "understanding"},
    "store": {"errors", "files"},
    "engine": BASE | {"model", "data", "generation", "store", "tools"},
    "server": BASE | {"model", "data", "generation", "engine", "store", "understanding", "tools"},
    "evaluation": BASE | {"model", "data", "tasks", "tools", "generation", "pretrained"},
    "baselines": BASE | {"model", "data", "generation", "evaluation"},
    "bench": BASE | {"model", "data", "tasks", "generation", "evaluation", "training"},
    "cli": None,  # on top of everything
    "serving_on_ray": None,  # the same, for Ray
    "__init__": None,  # the public names, loaded when they are asked for
    "__main__": None,
}
"""For each package, the packages it may import, itself aside; None: any."""

AGAINST_THE_ARROWS = {
    ("config", "presets"): "RxTConfig.preset(name)",
}
"""Conveniences of the public interface: imported inside a function, never when the module is loaded."""

CIRCLES: dict[frozenset[str], str] = {
    frozenset({"rxt.config", "rxt.config.whole", "rxt.presets"}): "RxTConfig.preset(name)",
}
"""Files that import each other in a circle, wherever the imports stand, and why they may."""

NEEDS_TORCH = {"torch", "safetensors.torch", "rxt.model"}
WITHOUT_TORCH = [
    "rxt",
    "rxt.config",
    "rxt.errors",
    "rxt.presets",
    "rxt.folders",
    "rxt.files",
    "rxt.cli.main",
    "rxt.store.sqlite",
]


class Import(NamedTuple):
    source: str
    """Package of the importing file: ``model``, or the module itself for files in rxt/."""
    target: str
    """Full name of what is imported: ``rxt.config.RxTConfig``, ``torch``."""
    deferred: bool
    """Inside a function."""
    place: str


def python_files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def top(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports_of(path: Path) -> list[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    deferred = {inner for function in functions for inner in ast.walk(function)}
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    source = top(path)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        late = node in deferred or node in typing_only
        found += [Import(source, target, late, f"{path.relative_to(ROOT.parent)}:{node.lineno}") for target in targets]
    return found


ALL_IMPORTS = [found for path in python_files() for found in imports_of(path)]


def package(name: str) -> str:
    return name.removeprefix("rxt.").split(".")[0]


def test_the_scan_sees_imports() -> None:
    pairs = {(found.source, package(found.target)) for found in ALL_IMPORTS}
    assert {("model", "config"), ("interop", "model"), ("config", "presets")} <= pairs


def test_every_package_has_its_place() -> None:
    assert {top(path) for path in python_files()} <= MAY_IMPORT.keys()


def test_imports_follow_the_arrows() -> None:
    wrong = []
    for found in ALL_IMPORTS:
        if not found.target.startswith("rxt."):
            continue
        target, allowed = package(found.target), MAY_IMPORT[found.source]
        fine = allowed is None or target == found.source or target in allowed
        if not fine and not (found.deferred and (found.source, target) in AGAINST_THE_ARROWS):
            wrong.append(f"{found.place}: {found.source} imports {found.target}")
    assert not wrong, "\n".join(wrong)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_graph() -> dict[str, set[str]]:
    """Which files of the package each file imports: at its top, inside functions and for type checkers alike.

    The public names of ``rxt`` itself are no file's business: whoever imports them stands on top of everything.
    """
    modules = {module_name(path): path for path in python_files()}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets = {found.target for found in imports_of(path)}
        graph[module] = {name for target in targets for name in (target, target.rpartition(".")[0]) if name in modules}
        graph[module] -= {module}
    graph["rxt"] = set()
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of several files in which each can be reached from each (strongly connected components)."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = set[str](), list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        reached[start] = seen
    return {
        frozenset(name for name in reached[start] if start in reached[name])
        for start in graph
        if start in reached[start]
    }


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == {frozenset("abc")}
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    found = circles(file_graph())
    new = [sorted(circle) for circle in found if circle not in CIRCLES]
    assert not new, f"circles of imports: {new}"
    gone = [sorted(circle) for circle in CIRCLES if circle not in found]
    assert not gone, f"circles that are no more: take them off the list: {gone}"


KNOW_A_TASK = {
    "training/recipes.py": "a recipe is the task's settings",
    "training/recipes_on_base.py": "the same",
    "training/recipes_open.py": "the same",
    "training/recipes_hybrid.py": "the same",
    "evaluation/hybrid.py": "its questions have calls, results and modes, which the protocol does not know",
    "evaluation/ranking.py": "its questions are made of the generator's wordings",
}


def test_what_windows_lacks_is_imported_only_where_it_is_used() -> None:
    posix = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    found = [each.place for each in ALL_IMPORTS if each.target.partition(".")[0] in posix and not each.deferred]
    assert found == []


def test_tasks_are_known_by_their_protocol() -> None:
    known = tuple(f"rxt.tasks.{name}" for name in ("base", "registry", "rejected"))
    wrong = [
        f"{found.place}: {found.target}"
        for found in ALL_IMPORTS
        if found.source in {"training", "evaluation", "cli", "bench"}
        and found.target.startswith("rxt.tasks")
        and not found.target.startswith(known)
        and found.place.partition(":")[0].removeprefix("rxt/") not in KNOW_A_TASK
    ]
    assert not wrong, "\n".join(wrong)


def test_data_is_made_without_torch() -> None:
    wrong = [
        found.place
        for found in ALL_IMPORTS
        if found.source in {"data", "tasks"}
        and not found.deferred
        and not found.place.partition(":")[0].endswith("data/collate.py")
        and any(
            found.target == name or found.target.startswith(f"{name}.") for name in (*NEEDS_TORCH, "rxt.data.collate")
        )
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_light_modules_do_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"import {module} loads torch"
