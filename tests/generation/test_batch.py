"""Many conversations at once say what each says alone, whoever joins and leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from factories import chat_model
from rxt.config import MoEConfig, SpecialTokens
from rxt.errors import UserError
from rxt.generation.batch import BatchDecoder
from rxt.generation.compiled import compile_step
from rxt.generation.generate import generate
from rxt.generation.inference_copy import inference_decoder
from rxt.generation.sampling import GREEDY, Sampling
from rxt.model.decoder import Decoder
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer

EXPERTS = MoEConfig(16, experts=6, top_k=2)


@dataclass(frozen=True)
class Guest:
    """A conversation that comes at a step, and how it wants to be answered."""

    comes: int
    prompt: Tensor
    memory: Memory
    sampling: Sampling = GREEDY
    most: int | None = None

    def alone(self, model: ReactiveTransformer) -> list[int]:
        room = model.config.max_length if self.most is None else self.most
        return generate(model, self.prompt[None], self.memory, room, self.sampling)[0, len(self.prompt) :].tolist()

    def admit(self, batch: BatchDecoder) -> int:
        return batch.admit(self.prompt, self.memory, self.sampling, self.most)


def guests(model: ReactiveTransformer) -> list[Guest]:
    drawn = torch.Generator().manual_seed(3)

    def prompt(length: int) -> Tensor:
        return torch.randint(10, 300, (length,), generator=drawn)

    memory = model.init_memory(7, seed=2)
    return [
        Guest(0, prompt(5), memory.select(0), most=9),
        Guest(0, prompt(11), memory.select(1), Sampling(1.0, top_p=0.9, seed=4), 12),
        Guest(0, prompt(1), memory.select(2), Sampling(repetition_penalty=1.4), 3),
        Guest(2, prompt(40), memory.select(3)),
        Guest(2, prompt(7), memory.select(4), Sampling(0.8, seed=9, repetition_penalty=1.2), 20),
        Guest(6, prompt(3), memory.select(5), Sampling(1.2, top_k=7, seed=1), 1),
        Guest(9, prompt(46), memory.select(6), most=30),
    ]


def penalized(model: ReactiveTransformer) -> list[Guest]:
    """The same, some of them with penalties of what their answers have already."""
    options = {
        0: Sampling(frequency_penalty=0.7),
        2: Sampling(repetition_penalty=1.2, presence_penalty=-0.4),
        3: Sampling(presence_penalty=1.5, frequency_penalty=0.1),
        4: Sampling(0.8, seed=9, frequency_penalty=2.0),
    }
    return [replace(guest, sampling=options.get(index, guest.sampling)) for index, guest in enumerate(guests(model))]


def run(batch: BatchDecoder, visits: list[Guest]) -> tuple[list[list[int]], list[str | None]]:
    """What everyone says, and how each ended."""
    handles: dict[int, int] = {}
    said: list[list[int]] = [[] for _ in visits]
    ends: list[str | None] = [None] * len(visits)
    step = 0
    while len(handles) < len(visits) or len(batch):
        for index, guest in enumerate(visits):
            if guest.comes == step:
                handles[guest.admit(batch)] = index
        for handle, word in batch.step().items():
            said[handles[handle]].append(word.token)
            ends[handles[handle]] = word.finish_reason
        step += 1
    return said, ends


def ending(experts: MoEConfig | None = None) -> ReactiveTransformer:
    """A model that ends some answers by itself."""
    plain = chat_model(experts=experts)
    words = guests(plain)[0].alone(plain)
    return chat_model(tokens=SpecialTokens(eos=words[4]), experts=experts)


@pytest.mark.parametrize("experts", [None, EXPERTS], ids=["dense", "experts"])
@pytest.mark.parametrize("places", [7, 16])
def test_everyone_says_what_they_say_alone(experts: MoEConfig | None, places: int) -> None:
    model = ending(experts)
    visits = guests(model)
    said, ends = run(BatchDecoder(model, places), visits)
    assert said == [guest.alone(model) for guest in visits]
    assert set(ends) == {"stop", "length"}
    for words, end in zip(said, ends, strict=True):
        assert (words[-1] == model.config.tokens.eos) == (end == "stop")


@pytest.mark.parametrize("places", [3, 16])
def test_penalties_are_of_ones_own_answer(places: int) -> None:
    model = chat_model()
    visits = penalized(model)
    alone = [guest.alone(model) for guest in visits]
    assert alone != [guest.alone(model) for guest in guests(model)], "they change something"
    if places < len(visits):
        visits = [replace(guest, comes=30 * index) for index, guest in enumerate(visits)]
    assert run(BatchDecoder(model, places), visits)[0] == alone


def test_likelihoods_are_those_of_the_model_itself() -> None:
    model = chat_model()
    visits = [replace(guest, comes=0, most=3) for guest in penalized(model)]
    batch = BatchDecoder(model, len(visits))
    wanted: list[int | None] = [0, 3, None, 20, 1, 0, None]
    handles = [
        batch.admit(guest.prompt, guest.memory, guest.sampling, guest.most, alternatives=count)
        for guest, count in zip(visits, wanted, strict=True)
    ]
    texts = [guest.prompt for guest in visits]
    while len(batch):
        for handle, said in batch.step().items():
            index = handles.index(handle)
            with torch.no_grad():
                scores = model.decode(texts[index][None], visits[index].memory)[0, -1].log_softmax(-1)
            texts[index] = torch.cat([texts[index], torch.tensor([said.token])])
            count = wanted[index]
            if count is None:
                assert said.likelihood is None
                continue
            assert said.likelihood is not None
            assert said.likelihood.log_probability == pytest.approx(float(scores[said.token]), abs=1e-4)
            best = scores.topk(count) if count else None
            assert [token for token, _ in said.likelihood.alternatives] == ([] if best is None else best[1].tolist())
            assert [value for _, value in said.likelihood.alternatives] == pytest.approx(
                [] if best is None else best[0].tolist(), abs=1e-4
            )


def test_compiled_steps_say_the_same_without_a_graph_break(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    model = ending(EXPERTS)
    compiled = compile_step(inference_decoder(model, compiled=True), "eager")
    rows: list[int] = []
    monkeypatch.setattr(
        "rxt.generation.decode.compiled_step",
        lambda _: lambda decoder, ids, *rest: rows.append(len(ids)) or compiled(decoder, ids, *rest),
    )
    visits = guests(model)
    assert run(BatchDecoder(model, 5, compiled=True), visits)[0] == [guest.alone(model) for guest in visits]
    assert set(rows) == {1, 2, 4}, "few numbers of rows, so that few are compiled"


def test_compiling_ahead_leaves_nothing_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    monkeypatch.setattr("rxt.generation.compiled.SHORTEST_CACHE", 16)
    made: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        made.append(1)
        return graph

    model = ending(EXPERTS)
    compiled = compile_step(inference_decoder(model, compiled=True), backend)
    monkeypatch.setattr("rxt.generation.decode.compiled_step", lambda _: compiled)
    visits, batch = guests(model), BatchDecoder(model, 5, compiled=True)
    assert list(batch.compile_ahead()) == [(rows, length) for length in (16, 32, 48) for rows in (1, 2, 4)]
    assert len(made) == 9
    assert run(batch, visits)[0] == [guest.alone(model) for guest in visits]
    assert len(made) == 9
    assert not list(BatchDecoder(model, 5).compile_ahead())


def test_who_has_ended_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    step = Decoder.step
    monkeypatch.setattr(Decoder, "step", lambda self, ids, *rest: rows.append(len(ids)) or step(self, ids, *rest))
    model = chat_model()
    memory = model.init_memory(3, seed=1)
    batch = BatchDecoder(model, 3)
    for index, most in enumerate((2, 5, 3)):
        batch.admit([11, 12], memory.select(index), max_new_tokens=most, stop_at_eos=False)
    counts = []
    while len(batch):
        counts.append(len(batch.step()))
    assert counts == [3, 3, 2, 1, 1]
    assert rows == [3, 2, 1, 1]
    assert batch.step() == {}


def test_a_running_batch_allocates_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    new_cache = Decoder.new_cache
    monkeypatch.setattr(Decoder, "new_cache", lambda self, *sizes: made.append(sizes[0]) or new_cache(self, *sizes))
    model = chat_model()
    memory = model.init_memory(3, seed=1)
    batch = BatchDecoder(model, 3)
    for expected in ([1], [1, 2], [1, 2, 3], [1, 2, 3]):
        if batch.free:
            batch.admit([11, 12], memory.select(0), stop_at_eos=False)
        batch.step()
        assert made == expected
    batch.cancel(1)
    batch.admit([13], memory.select(1), stop_at_eos=False)
    batch.step()
    assert made == [1, 2, 3], "a place that is free is used again"


def test_cancelling_leaves_the_others_alone() -> None:
    model = chat_model()
    visits = guests(model)[:4]
    batch = BatchDecoder(model, 4)
    handles = [guest.admit(batch) for guest in visits[:3]]
    said: dict[int, list[int]] = {handle: [] for handle in handles}
    waiting = -1
    for step in range(12):
        if step == 1:
            batch.cancel(handles[0])
            waiting = visits[3].admit(batch)
            batch.cancel(waiting)  # before it has begun
        for handle, word in batch.step().items():
            said[handle].append(word.token)
    assert [len(said[handle]) for handle in handles] == [1, 12, 3]
    assert said[handles[1]] == visits[1].alone(model)
    assert said[handles[2]] == visits[2].alone(model)
    assert (len(batch), batch.free) == (0, 4)
    for gone in (handles[0], handles[1], waiting, 99):
        with pytest.raises(KeyError, match=f"handle {gone}"):
            batch.cancel(gone)


def test_a_memory_that_was_read_before_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model()
    guest = guests(model)[0]
    looked_up = model.decoder.project_memory(guest.memory.slots)
    monkeypatch.setattr(Decoder, "project_memory", None)
    batch = BatchDecoder(model, 1)
    batch.admit(guest.prompt, guest.memory, max_new_tokens=9, memory_kv=looked_up)
    said = [word.token for _ in range(9) for word in batch.step().values()]
    monkeypatch.undo()
    assert said == guest.alone(model)


def test_new_weights_are_used_by_who_comes_to_an_empty_batch() -> None:
    model = chat_model()
    batch = BatchDecoder(model, 1)
    with torch.no_grad():
        model.decoder.head.weight.copy_(chat_model(3).decoder.head.weight)
    guest = guests(model)[0]
    assert run(batch, [guest])[0] == [guest.alone(model)]


def test_mistakes_are_named() -> None:
    model = chat_model()
    memory = model.init_memory(seed=1)
    with pytest.raises(UserError, match="at least one place, found 0"):
        BatchDecoder(model, 0)
    batch = BatchDecoder(model, 1)
    for ids, other, most, message in [
        (list(range(48)), memory, None, "no room for an answer: the prompt has 48 of at most 48"),
        ([3], memory, 0, "no room for an answer"),
        ([3], memory, -1, "max_new_tokens cannot be negative"),
        ([], memory, None, "at least one token"),
        ([3], model.init_memory(2), None, "1 prompts need as many memories, found 2"),
        ([3], chat_model(5).init_memory(), None, "fingerprint"),
    ]:
        with pytest.raises(UserError, match=message):
            batch.admit(ids, other, max_new_tokens=most)
    batch.admit([3], memory)
    with pytest.raises(UserError, match="all 1 places are taken"):
        batch.admit([3], memory)
