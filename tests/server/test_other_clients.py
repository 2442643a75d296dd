"""Other clients than OpenAI's for Python, each in a process of its own, where they are installed.

``RXT_CLIENTS_PYTHON`` names a Python that has langchain, langchain-openai, litellm, pydantic-ai-slim[openai] and
openai-agents;
``RXT_CLIENTS_NODE`` a folder in which ``npm install openai ai @ai-sdk/openai @openai/agents zod`` was run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from live import Live
from scripted_server import Scripted

from scripted_chat import CALL

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parent / "clients"
PYTHON = os.environ.get("RXT_CLIENTS_PYTHON", sys.executable)
NODE = os.environ.get("RXT_CLIENTS_NODE")
FORMS = ["json"] if find_spec("llguidance") is not None else []

LOOP = (f"<think>so<answer>hello<tool_call>{CALL}<eos>", f"<answer><tool_call>{CALL}<eos>", "<answer>Ann<eos>")
"""Three turns: two calls and the answer."""


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server whose model says what it is told to."""
    server = Scripted(":memory:")
    yield server
    server.live.stop()


def works(command: list[str], url: str, folder: Path) -> None:
    home = {"HOME": str(folder), "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"{url}/v1"}
    home["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the internet for prices
    done = subprocess.run(
        [*command, url, *FORMS],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | home,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["works"]), done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize(
    ("script", "package", "module"),
    [
        ("langchain_client.py", "langchain-openai", "langchain_openai"),
        ("litellm_client.py", "litellm", "litellm"),
        ("pydantic_ai_client.py", "pydantic-ai-slim[openai]", "pydantic_ai"),
        ("agents_client.py", "openai-agents", "agents"),
    ],
)
def test_clients_in_python(live: Live, tmp_path: Path, script: str, package: str, module: str) -> None:
    works(in_python(script, package, module, tmp_path), live.url, tmp_path)


@pytest.mark.parametrize(
    ("script", "package", "module", "loops"),
    [("langchain_tools.py", "langchain", "langchain", 4), ("agents_tools.py", "openai-agents", "agents", 5)],
)
def test_tool_loops_in_python(
    scripted: Scripted, tmp_path: Path, script: str, package: str, module: str, loops: int
) -> None:
    scripted.says(*LOOP * loops)
    works(in_python(script, package, module, tmp_path), scripted.live.url, tmp_path)


def in_python(script: str, package: str, module: str, folder: Path) -> list[str]:
    """The command that runs a script, where its package is."""
    look = [PYTHON, "-c", f"import sys, importlib.util as u; sys.exit(u.find_spec({module!r}) is None)"]
    if subprocess.run(look, check=False, cwd=folder).returncode:
        pytest.skip(f"{PYTHON} has no {package}: pip install '{package}', there or where RXT_CLIENTS_PYTHON says")
    return [PYTHON, str(SCRIPTS / script)]


@pytest.mark.parametrize(
    ("script", "package"),
    [("openai_client.mjs", "openai"), ("ai_sdk_client.mjs", "@ai-sdk/openai"), ("agents_client.mjs", "@openai/agents")],
)
def test_clients_in_node(live: Live, tmp_path: Path, script: str, package: str) -> None:
    works(in_node(script, package, tmp_path), live.url, tmp_path)


def test_tool_loops_in_node(scripted: Scripted, tmp_path: Path) -> None:
    scripted.says(*LOOP * 4)
    works(in_node("ai_sdk_tools.mjs", "@ai-sdk/openai", tmp_path), scripted.live.url, tmp_path)


def in_node(script: str, package: str, folder: Path) -> list[str]:
    """The command that runs a script in a folder, where its package is."""
    if NODE is None or shutil.which("node") is None or not (Path(NODE) / "node_modules" / package).is_dir():
        pytest.skip(f"no {package} here: npm install {package} in a folder that RXT_CLIENTS_NODE names")
    (folder / "node_modules").symlink_to(Path(NODE).resolve() / "node_modules")
    shutil.copy(SCRIPTS / script, folder)
    return ["node", script]
