"""Thinking and tools on a pre-trained base: its own chat template, with special tokens that it had no use for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import torch
from tiny_bases import store_base
from tiny_tokenizers import store_tokenizer

import rxt
from rxt.cli.info import run as info_command
from rxt.cli.train import run as train_command
from rxt.config import RxTConfig, TemplateName
from rxt.data.markup import Encoded
from rxt.data.records import Interaction
from rxt.data.template import Mode, Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.evaluation.hybrid import HybridPlan, measure_hybrid
from rxt.evaluation.in_parts import ReactiveInParts
from rxt.generation.manner import Manner
from rxt.generation.own_words import own_interactions
from rxt.generation.turn import OpenTurn
from rxt.interop.backbone import Backbone
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer, load_chat
from rxt.tools.tool import Tool, tools_text

LAYERS = (1, 3)
ADD = Tool("add", "", {"type": "object", "properties": {"a": {"type": "integer"}}})
CLOCK = Tool("clock", "", {"type": "object", "properties": {}})
OPEN, SPOKEN, TOOLS = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>system\nt<|im_end|>\n"
THINK, ANSWER, CALL, RESULT, END = "<|one|>", "<|two|>", "<|three|>", "<|four|>", "<|im_end|>"


@dataclass(frozen=True)
class OnBase:
    """A base with special tokens to spare, and a memory on it."""

    folder: Path
    tokenizer: ChatTokenizer
    model: ReactiveTransformer

    @property
    def template(self) -> Template:
        return Template.of_model(self.model.config, self.tokenizer)

    def show(self, ids: list[int]) -> str:
        return self.tokenizer.show(ids)


def grow(folder: Path, template: TemplateName = "beta", length: int = 1_200) -> OnBase:
    theirs = store_tokenizer(folder, "chatml-spare")
    store_base(folder, "qwen2", vocab_size=len(theirs), max_position_embeddings=length, pad_token_id=1)
    backbone, tokenizer = Backbone.from_pretrained(folder), rxt.load_base_tokenizer(folder)
    if template == "beta":
        tokenizer = rxt.with_parts(tokenizer, backbone)
    torch.manual_seed(1)
    model = ReactiveTransformer.on_base(
        backbone,
        LAYERS,
        64,
        tokens=tokenizer.tokens,
        markers=tokenizer.markers,
        adapter_rank=2,
        tokens_as_slots=True,
        template=template,
    )
    return OnBase(folder, tokenizer, model)


@pytest.fixture(scope="module")
def on_base(tmp_path_factory: pytest.TempPathFactory) -> OnBase:
    return grow(tmp_path_factory.mktemp("parts"))


WRITTEN = [
    (Interaction("q", "a"), f"{OPEN}q{SPOKEN}{ANSWER}a{END}", f"{ANSWER}a{END}"),
    (Interaction("q", "a", think="t"), f"{OPEN}q{SPOKEN}{THINK}t{ANSWER}a{END}", f"{THINK}t{ANSWER}a{END}"),
    (
        Interaction("q", "", tool_call="c", internal="t"),
        f"{TOOLS}{OPEN}q{SPOKEN}{ANSWER}{CALL}c{END}",
        f"{ANSWER}{CALL}c{END}",
    ),
    (
        Interaction("", "a", think="t", tool_use="7", internal="t"),
        f"{TOOLS}{OPEN}{RESULT}7{SPOKEN}{THINK}t{ANSWER}a{END}",
        f"{THINK}t{ANSWER}a{END}",
    ),
]


@pytest.mark.parametrize(("interaction", "text", "learned"), WRITTEN)
def test_parts_are_written_in_the_bases_own_template(
    on_base: OnBase, interaction: Interaction, text: str, learned: str
) -> None:
    template, encoded = on_base.template, on_base.template.interaction(interaction)
    assert on_base.show(encoded.ids) == text
    assert on_base.show([each for each, loss in zip(encoded.ids, encoded.loss, strict=True) if loss]) == learned
    assert on_base.show(encoded.memorized) == text.removeprefix(TOOLS)
    assert template.markup.noted(Encoded(encoded.ids, encoded.loss)) == encoded
    parts = {part.name: on_base.tokenizer.decode(part.ids) for part in template.markup.parts_of(encoded)}
    given = {name: value for name, value in vars(interaction).items() if value is not None}
    asked = "query" if interaction.tool_use is None else "tool_use"
    assert asked in parts
    assert parts == {name: given[name] for name in parts}


@pytest.mark.parametrize("mode", ["fast", "thinking", "auto"])
def test_a_prompt_is_the_beginning_of_what_grows_out_of_it(on_base: OnBase, mode: str) -> None:
    template, mode = on_base.template, cast("Mode", mode)
    for interaction, _, _ in WRITTEN:
        whole = template.interaction(interaction)
        prompt = template.prompt_of(interaction, mode)
        if (mode == "thinking") <= (interaction.think is not None) and (mode == "fast") <= (interaction.think is None):
            assert whole.ids[: len(prompt)] == prompt
            assert template.complete(prompt, whole.ids[len(prompt) :]) == whole.memorized


def test_a_system_prompt_is_memorized_whole(on_base: OnBase) -> None:
    encoded = on_base.template.system("t")
    assert (
        on_base.show(encoded.memorized) == TOOLS == on_base.show(on_base.template.complete(encoded.ids[:-2], [])) + "\n"
    )


def test_a_cut_interaction_keeps_its_markers_and_what_is_memorized_of_it(on_base: OnBase) -> None:
    template = Template(on_base.tokenizer, "beta", 40, markers=on_base.model.config.markers)
    cut = template.interaction(Interaction("q" * 60, "a", internal="t" * 9))
    assert (len(cut.ids), cut.cut) == (40, True)
    assert re.fullmatch(
        re.escape(TOOLS).replace("t<", "t*<") + re.escape(OPEN) + "q*" + re.escape(f"{SPOKEN}{ANSWER}a{END}"),
        on_base.show(cut.ids),
    )
    assert on_base.show(cut.memorized).startswith(OPEN)


def test_markers_that_are_said_can_be_told_apart(tmp_path: Path) -> None:
    theirs = store_tokenizer(tmp_path, "chatml-spare")
    store_base(tmp_path, "qwen2", vocab_size=len(theirs), pad_token_id=1)
    backbone, tokenizer = Backbone.from_pretrained(tmp_path), rxt.load_base_tokenizer(tmp_path)
    assert tokenizer.show(tokenizer.unused) == "<|one|><|two|><|three|><|four|><|five|>"
    rows = backbone.decoder.embedding.weight.data
    rows[tokenizer.unused[0]] = rows[tokenizer.unused[3]] + 1e-4
    found = rxt.with_parts(tokenizer, backbone).tokens
    assert (found.think, found.answer, found.tool_call, found.tool_use) == tuple(
        tokenizer.unused[at] for at in (1, 2, 4, 0)
    )
    rows[list(tokenizer.unused)] = 1.0  # as tokens that were never learned
    with pytest.raises(UserError, match=r"has 5 special tokens .* 0 of them unlike each other; .* take another base"):
        rxt.with_parts(tokenizer, backbone)


def test_a_base_without_spare_tokens_is_refused_and_so_are_tokens_without_parts(tmp_path: Path) -> None:
    theirs = store_tokenizer(tmp_path, "chatml")
    store_base(tmp_path, "qwen2", vocab_size=len(theirs), pad_token_id=1)
    backbone, tokenizer = Backbone.from_pretrained(tmp_path), rxt.load_base_tokenizer(tmp_path)
    with pytest.raises(UserError, match="has 1 special tokens that it has no use for"):
        rxt.with_parts(tokenizer, backbone)
    with pytest.raises(UserError, match=r"tokens.think is needed by the beta template"):
        ReactiveTransformer.on_base(
            backbone, LAYERS, 8, tokens=tokenizer.tokens, markers=tokenizer.markers, template="beta"
        )


def turns_of(chat: rxt.Conversation) -> list[OpenTurn]:
    """The turns of a conversation, as they come."""
    found: list[OpenTurn] = []
    opened = chat._open  # pyright: ignore[reportPrivateUsage]

    def open_turn(*args: object, **named: object) -> object:
        turn, constraint = opened(*args, **named)  # pyright: ignore[reportArgumentType]
        found.append(turn)
        return turn, constraint

    chat._open = open_turn  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    return found


def test_every_turn_is_told_of_the_conversations_tools_and_none_is_memorized(on_base: OnBase) -> None:
    chat = rxt.Conversation(on_base.model, on_base.tokenizer, max_new_tokens=9, manner=Manner("auto", 4, (ADD,)))
    turns = turns_of(chat)
    assert not chat.memory.slots.any()  # no system prompt tells of them
    before = chat.memory
    chat.ask("q", tool_choice="required")
    assert chat.call is not None
    whole = on_base.template.finished(turns[0].prompt, turns[0].said)
    heard = next(whole[start:] for start in range(len(whole)) if on_base.show(whole[start:]).startswith(OPEN))
    with torch.no_grad():
        memorized = on_base.model.memorize(before, torch.tensor([heard]))
    torch.testing.assert_close(chat.memory.slots, memorized.slots)
    chat.tool_result(chat.call.id, "7")
    chat.ask("r", tools=[CLOCK])
    asked = [on_base.show(turn.prompt) for turn in turns]
    both = [tools_text((ADD,)), tools_text((ADD,)), tools_text((CLOCK, ADD))]
    told = [f"<|im_start|>system\n{text}{END}\n{OPEN}" for text in both]
    assert [prompt.startswith(each) for prompt, each in zip(asked, told, strict=True)] == [True] * 3
    assert asked[1].endswith(f"{OPEN}{RESULT}7{SPOKEN}")


def test_saved_and_loaded_it_has_its_parts(on_base: OnBase, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_base.model.save_pretrained(tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()
    assert info_command([str(tmp_path)]) == 0
    assert "with thinking and tools" in " ".join(capsys.readouterr().out.split())
    loaded = load_chat(tmp_path, max_new_tokens=8)
    assert loaded.tokenizer.tokens == on_base.tokenizer.tokens
    assert loaded.template.has_tools
    alike = rxt.Conversation(on_base.model, on_base.tokenizer, max_new_tokens=8)
    assert loaded.ask("q", mode="auto", budget=5) == alike.ask("q", mode="auto", budget=5)


def test_the_bases_own_words_end_where_its_messages_end(on_base: OnBase) -> None:
    made = own_interactions(on_base.model, on_base.template, 3, seed=0, longest=8)
    assert len(made) == 3
    for encoded in made:
        text = on_base.show(encoded.ids)
        assert text.startswith(OPEN)
        assert text.count(f"{SPOKEN}{ANSWER}") == 1


def test_it_is_measured_with_tools_told_in_the_turns_that_ask(on_base: OnBase) -> None:
    heard: list[str] = []

    class Listening(ReactiveInParts):
        def remember(self, state: Memory, interactions: Sequence[list[int]]) -> Memory:
            heard.extend(map(on_base.show, interactions))
            return super().remember(state, interactions)

    plan = HybridPlan((1,), 1, ("call", "no_tool"), longest=4, budget=2)
    measure_hybrid(Listening(on_base.model, on_base.template), plan, 0)
    assert heard
    assert not any("TOOLS" in text for text in heard)


def test_a_memory_without_parts_gets_them_by_further_training(tmp_path: Path) -> None:
    first = grow(tmp_path / "base", "alpha")
    first.model.save_pretrained(tmp_path / "memory")
    phases = '[{"steps": 2, "turns": 3, "batch_size": 2, "trains": ["decoder"]}]'
    small = ["--set", f"adaptation.phases={phases}", "--set", "adaptation.keep=null", "--set", "checkpoint_every=1"]
    small += ["--set", "validation_batches=1"]
    for way, out in ((["--from", str(tmp_path / "memory")], "on"), (["--base", str(first.folder)], "new")):
        assert train_command(["smollm2_hybrid", *way, "--out", str(tmp_path / out), *small]) == 0
        config = RxTConfig.from_file(tmp_path / out / "model" / "config.json")
        assert (config.template, config.tokens.answer) == ("beta", 3)
        chat = load_chat(tmp_path / out / "model", max_new_tokens=4)
        chat.ask("q", mode="thinking", budget=3, tools=[ADD])
        assert chat.reply is not None
        assert chat.reply.think is not None
