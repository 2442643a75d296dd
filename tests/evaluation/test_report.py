"""The page: its sentences say what the files say, and it needs nothing but itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rxt.errors import UserError
from rxt.evaluation.bootstrap import Estimate
from rxt.evaluation.latency import CostCurve, LatencyResult, Seconds, TurnTimes
from rxt.evaluation.perplexity import TurnScore
from rxt.evaluation.report.page import page
from rxt.evaluation.report.plots import COLOURS, cost_plot, have_plots, perplexity_plot, recall_plot, standalone
from rxt.evaluation.report.results import (
    ABOUT_SHIPPED,
    ControlCurves,
    Controls,
    CountedShare,
    KindOfMemory,
    OpenResult,
    PerplexityResult,
    Results,
    RetentionResult,
    Worth,
    files_there,
    read_latency,
    read_results,
    read_retention,
    shipped_baselines,
)
from rxt.evaluation.report.sentences import (
    at_what_cost,
    for_how_long,
    latency_command,
    lead,
    milliseconds,
    open_command,
    percent,
    perplexity_command,
    retention_command,
    size,
    what_is_remembered,
    what_of_own_words,
)

MODEL = RetentionResult(
    {1: 1.0, 4: 0.95, 16: 0.6, 64: 0.25, 128: None},
    Controls(0.0, 0.02, 0.03),
    {1: (1.0, 1.0), 4: (0.9, 1.0), 16: (0.5, 0.7), 64: (0.2, 0.3)},
    {1: 32, 4: 32, 16: 32, 64: 32},
    ControlCurves({1: 0.0, 4: None, 16: 0.1}, {}),
    16,
    "runs/mine & more",
    "test",
    3,
    None,
    0.8,
    None,
    {2: {1: 1.0, 8: None}},
)
OTHER = RetentionResult({1: 1.0, 64: 0.5})


def cost(first: float, kept: int) -> TurnTimes:
    return TurnTimes(Seconds(first, first / 2, 2 * first), Seconds(1, 1, 1), Seconds(0.5, 0.5, 0.5), kept, 127)


LATENCY = LatencyResult(
    "bundled",
    1,
    32,
    32,
    5,
    8,
    (
        CostCurve("Reactive Transformer", 840_126, {1: cost(0.004, 49_152), 256: cost(0.0042, 49_152)}),
        CostCurve("reads all again", 819_067, {1: cost(0.003, 512), 256: cost(9.04, 131_072)}),
    ),
)
PERPLEXITY = PerplexityResult(
    "chats.jsonl",
    100,
    KindOfMemory(3.0, 20.1, 0.25, 19.0),
    KindOfMemory(3.1, 22.2, 0.2, 21.0),
    KindOfMemory(3.2, 24.5, 0.2, 23.0),
    "bundled",
    1,
    5,
    {1: TurnScore(40, 3.0, 3.0, 3.0), 2: TurnScore(60, 3.0, 3.2, 3.3)},
    Worth(Estimate(0.1, 0.05, 0.15), Estimate(0.2, 0.1, 0.3)),
)
OPEN = OpenResult(
    0.6,
    None,
    0.125,
    {1: 0.75, 8: 0.5},
    Controls(0.0, 0.0, 0.0),
    {1: (0.7, 0.8), 8: (0.4, 0.6)},
    {1: 32, 8: 32},
    model="bundled",
    seed=2,
    talks="my talks.txt",
    held=3,
    shares={"right": CountedShare(0.6, 0.25, 1.0, 3, 5), "never_told": None},
    ways_of_typing={"in <lower> case": CountedShare(0.9, 0.8, 1.0, 27, 30)},
)
ALL = Results(MODEL, LATENCY, PERPLEXITY, {"<re-reads> 4": OTHER}, open=OPEN)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_the_first_sentence_has_the_ends_of_the_curve_and_the_controls() -> None:
    assert plain(what_is_remembered(MODEL)) == (
        "Told a fact, the model answers a question about it correctly 100 % of the time "
        "1 turn later and 25 % of the time 64 turns later; "
        "with its memory erased it gets 0 %, with another conversation's memory 2 %, guessing would get 3 %."
    )
    assert plain(what_is_remembered(RetentionResult({3: 0.5}))).endswith("50 % of the time 3 turns later.")


def test_the_second_says_how_long() -> None:
    found = plain(for_how_long(MODEL, {"a": OTHER, "b": RetentionResult({1: 1.0, 16: 0.2})}))
    assert found == (
        "It stays at 90 % or better for 4 turns and at half or better for 16 turns "
        "(training never showed more than 16 turns); "
        "the best of the others, a, recalls 50 % after 64 turns, this model 25 %."
    )
    assert (
        plain(for_how_long(RetentionResult({1: 1.0, 8: 0.9}), {}))
        == "It stays at 90 % or better over all 8 turns measured."
    )
    assert (
        plain(for_how_long(RetentionResult({1: 0.8, 8: 0.4}), {}))
        == "It begins below 90 %, and stays at half or better for 1 turn."
    )
    assert "less than half" in for_how_long(RetentionResult({1: 0.1}), {})
    assert "others" not in for_how_long(MODEL, {"c": RetentionResult({3: 1.0})}), (
        "nothing measured at the same distance"
    )


def test_the_third_says_what_it_costs() -> None:
    assert plain(at_what_cost(LATENCY)) == (
        "In turn 256 its first word comes after 4.2 ms (in turn 1: 4.0 ms), and it keeps 48 KiB between turns; "
        "a model of the same size without a memory takes 9.0 s (reads all again; 128 KiB kept)."
    )
    assert len(lead(replace(ALL, open=None))) == 3
    assert len(lead(Results(latency=LATENCY))) == 1


def test_talks_have_a_sentence_before_the_others() -> None:
    assert lead(ALL)[0] == what_of_own_words(OPEN)
    assert plain(lead(ALL)[0]) == (
        "In talks as people type them, the share of right answers is 60 %; "
        "something that nobody said is named in 12.5 %."
    )


def test_recall_lasts_until_it_first_falls() -> None:
    found = RetentionResult({1: 1.0, 2: 0.4, 4: 0.9})
    assert found.lasts(0.9) == 1
    assert found.lasts(0.3) == 4
    assert RetentionResult({1: 0.1}).lasts(0.5) is None


def test_the_commands_measure_the_same_again() -> None:
    assert retention_command(MODEL) == (
        "rxt eval retention 'runs/mine & more' --split test --distances 1,4,16,64,128 "
        "--questions 32 --seed 3 --json retention.json"
    )
    assert retention_command(OTHER) == "rxt eval retention --distances 1,64 --facts none --json retention.json"
    assert retention_command(replace(OTHER, task="open")).startswith("rxt eval retention --task open --distances 1,64 ")
    assert open_command(OPEN) == (
        "rxt eval open --talks 'my talks.txt' --distances 1,8 --questions 32 --seed 2 --json open.json"
    )
    assert open_command(OpenResult(1.0, 1.0, 0.0, model="m")) == "rxt eval open m --distances none --json open.json"
    assert latency_command(LATENCY) == (
        "rxt eval latency --turns 1,256 --query-tokens 32 --answer-tokens 32 "
        "--repeats 5 --threads 1 --json latency.json"
    )
    assert perplexity_command(PERPLEXITY) == "rxt eval perplexity chats.jsonl --seed 1 --json perplexity.json"


def test_numbers_as_people_read_them() -> None:
    assert [plain(percent(share)) for share in (1.0, 0.987, 0.0, 0.5)] == ["100 %", "98.7 %", "0 %", "50 %"]
    assert [plain(milliseconds(value)) for value in (0.00421, 0.38, 9.04)] == ["4.2 ms", "380 ms", "9.0 s"]
    assert [plain(size(count)) for count in (512, 49_152, 33_552_384, 1_020 * 1_024)] == [
        "512 bytes",
        "48 KiB",
        "32 MiB",
        "1020 KiB",
    ]


class Seen(HTMLParser):
    """What a browser would fetch, and whether tags are closed."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href") and tag != "use"]
        assert tag not in ("script", "link", "img", "iframe")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_is_whole() -> None:
    pytest.importorskip("matplotlib")
    found = page(ALL)
    seen = Seen()
    seen.feed(found)
    assert seen.open == []
    assert seen.fetched == []
    assert "@import" not in found
    assert not re.search(r"url\((?!#)", found)
    assert found.count("<svg") == 4
    assert plain(found).count("<td>right, of what was told</td><td>60 %</td><td>25 % to 100 %</td><td>3 of 5</td>") == 1
    assert "in &lt;lower&gt; case" in found
    assert found.index("Is it remembered as people say it?") < found.index("How often is a fact recalled?")
    for sentence in lead(ALL):
        assert sentence.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#x27;") in found
    assert "<re-reads>" not in found, "names are no markup"
    assert "runs/mine &amp; more" in found
    assert "prefers-color-scheme: dark" in found
    assert all(f"--{name}: {colour}" in found for name, colours in COLOURS.items() for colour in colours)
    assert found == page(ALL), "the same files give the same bytes"


def test_what_was_not_measured_is_left_out() -> None:
    found = page(Results(retention=OTHER))
    for words in (
        "as people say it?",
        "What does a turn cost?",
        "What is memory worth",
        "Facts that are easily confused",
        "How many facts",
    ):
        assert words not in found
        assert words in page(ALL)
    assert page(replace(ALL, open=OpenResult(1.0, 1.0, 0.0))).count("<svg") == page(ALL).count("<svg") - have_plots()
    assert "None" not in found
    assert "nan" not in found


def test_the_plots_share_no_names_and_have_no_colour_of_their_own() -> None:
    pytest.importorskip("matplotlib")
    drawn = [recall_plot(MODEL, {"other": OTHER}), cost_plot(LATENCY), perplexity_plot(PERPLEXITY)]
    drawn.append(recall_plot(MODEL, {}, "open"))
    names = [re.findall(r' id="([^"]+)"', svg) for svg in drawn]
    assert len({name for group in names for name in group}) == sum(map(len, names))
    for svg, group in zip(drawn, names, strict=True):
        ElementTree.fromstring(svg)
        assert not re.search(r"#[0-9a-f]{6}\b", re.sub(r'(href|id)="[^"]*"|url\([^)]*\)', "", svg)), (
            "colours are the page's"
        )
        assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg)) <= set(group), "what is referred to is there"
        assert "var(" not in standalone(svg)
        ElementTree.fromstring(standalone(svg))
    for words in ("other", "memory erased", "longest in training: 16 turns", "turns since the fact was told"):
        assert words in drawn[0], "words are words"


def test_files_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "retention.json"
    path.write_text(
        json.dumps({"recall_by_distance": {"8": None, "2": 0.5}, "controls": {"chance": 0.1}, "something": "else"})
    )
    found = read_retention(path)
    assert found.curve == {2: 0.5}
    assert found.controls == Controls(chance=0.1)
    assert files_there(tmp_path) == ("retention.json",)
    assert read_results(tmp_path, ["retention.json"], {"again": path}).baselines == {"again": found}


def test_what_the_latency_suite_writes_is_read_back(tmp_path: Path) -> None:
    from dataclasses import asdict

    path = tmp_path / "latency.json"
    path.write_text(json.dumps(asdict(LATENCY)))
    assert read_latency(path) == LATENCY


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "recall_by_distance: field required"),
        ({"recall_by_distance": {"1": None}}, "recall_by_distance has no recall in it"),
        ({"recall_by_distance": {"one": 1.0}}, "recall_by_distance.one"),
        ({"recall_by_distance": {"1": "high"}}, "found 'high'"),
    ],
)
def test_a_bad_file_is_named(content: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "retention.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"retention.json: .*{message}|retention.json: {message}"):
        read_retention(path)


def test_an_empty_latency_file_is_named(tmp_path: Path) -> None:
    from dataclasses import asdict

    path = tmp_path / "latency.json"
    path.write_text(json.dumps(asdict(replace(LATENCY, subjects=()))))
    with pytest.raises(UserError, match="subjects has no turns in it"):
        read_latency(path)


def test_every_shipped_baseline_can_be_shown() -> None:
    found = {name: read_retention(path) for name, path in shipped_baselines().items()}
    assert {result.trained_turns for result in found.values()} == {8}
    assert all((result.model or "").startswith("rxt train study") for result in found.values()), (
        "commands, no folders of somebody"
    )
    text = page(replace(ALL, baselines=found, about_baselines=ABOUT_SHIPPED))
    assert "The curves of the study" in text
    assert all(escape(name) in text for name in found)


def test_baselines_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxt.evaluation.report.results.BASELINES", tmp_path / "baselines")
    assert shipped_baselines() == {}
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "no_memory.json").write_text("{}")
    assert shipped_baselines() == {"no memory": tmp_path / "baselines" / "no_memory.json"}
