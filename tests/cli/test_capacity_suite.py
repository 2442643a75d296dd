"""``rxt eval capacity``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rxt.cli.main import main
from rxt.config import PoolConfig
from rxt.evaluation.pooled import Pooled, load_subject
from rxt.evaluation.report.plots import have_plots
from rxt.evaluation.subject import Reactive
from rxt.pretrained import ReactiveTransformer, load_chat


def page_of(numbers: Path, folder: Path) -> str:
    """The section of a report on what the suite wrote."""
    folder.mkdir()
    (folder / "capacity.json").write_bytes(numbers.read_bytes())
    assert main(["eval", "report", "--from", str(folder), "--out", str(folder)]) == 0
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "How many facts are held at once?" in page
    assert "--cells 3,2 2,1 --questions 2 --fragments 1 20" in page
    return page


def test_the_suite_prints_and_writes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = PoolConfig(2, new_below=-1, most_writes=1)
    ReactiveTransformer.from_pretrained(folder).with_pool(pool).save_pretrained(tmp_path / "model")
    load_chat(folder).tokenizer.save(tmp_path / "model")
    assert isinstance(load_subject(tmp_path / "model"), Pooled)
    assert isinstance(load_subject(folder), Reactive)
    out = tmp_path / "out.json"
    options = ["--cells", "3,2", "2,1", "--questions", "2", "--fragments", "1", "20", "--json", str(out)]
    options += ["--plot", str(tmp_path / "cost.svg")] if have_plots() else []
    assert main(["eval", "capacity", str(tmp_path / "model"), *options]) == 0
    printed = capsys.readouterr().out
    assert page_of(tmp_path / "out.json", tmp_path / "page").count("<td>") >= 2 * 6 + 2 * 4
    assert "recall by facts told" in printed
    assert "a turn by the number of fragments" in printed
    numbers = json.loads(out.read_text())
    assert [(cell["facts"], cell["distance"], cell["pooled"]["asked"]) for cell in numbers["cells"]] == [
        (3, 2, 2),
        (2, 1, 2),
    ]
    assert [turn["fragments"] for turn in numbers["turns"]] == [1, 20]
    if have_plots():
        drawn = (tmp_path / "cost.svg").read_text(encoding="utf-8")
        assert "memory update" in drawn
        assert "var(--" not in drawn, "it stands alone"
        assert main(["eval", "capacity", str(folder), "--plot", str(tmp_path / "none.svg")]) == 2
        assert "keeps none" in capsys.readouterr().err
    for wrong in ("3", "0,1", "a,b", "3,2,1"):
        assert main(["eval", "capacity", str(folder), "--cells", wrong]) == 2
        assert "a cell is FACTS,DISTANCE" in capsys.readouterr().err
    assert main(["eval", "capacity", str(folder), "--task", "babi"]) == 2
