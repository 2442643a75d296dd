import pytest
import torch
from torch import Tensor

from factories import chat_model
from rxt.config import MoEConfig, SpecialTokens
from rxt.errors import UserError
from rxt.generation.compiled import cache_length, compile_step
from rxt.generation.generate import generate, generate_tokens
from rxt.generation.sampling import GREEDY, Sampling, sample
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer


def naive(
    model: ReactiveTransformer,
    ids: Tensor,
    memory: Memory,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    stop_at_eos: bool = True,
) -> Tensor:
    """Without a cache, one row: the whole text goes through the decoder for every new token."""
    assert ids.shape[0] == 1
    generators = [sampling.generator(ids.device)]
    for _ in range(min(max_new_tokens, model.config.max_length - ids.shape[1])):
        seen = torch.zeros(1, model.config.decoder.vocab_size, dtype=torch.bool)
        seen[0, ids[0]] = True
        with torch.no_grad():
            token = sample(model.decode(ids, memory)[:, -1], sampling, generators, seen)
        ids = torch.cat([ids, token[:, None]], dim=1)
        if stop_at_eos and int(token) == model.config.tokens.eos:
            break
    return ids


def prompt(batch_size: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(10, 300, (batch_size, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("length", "new"), [(1, 9), (5, 12), (40, 30), (47, 5)])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(repetition_penalty=1.5),
        Sampling(1.0, top_p=0.9, seed=4),
        Sampling(1.0, repetition_penalty=1.3, seed=5),
    ],
)
def test_the_cache_changes_nothing(model: ReactiveTransformer, length: int, new: int, sampling: Sampling) -> None:
    ids, memory = prompt(1, length), model.init_memory(seed=1)
    expected = naive(model, ids, memory, new, sampling, stop_at_eos=False)
    assert torch.equal(generate(model, ids, memory, new, sampling, stop_at_eos=False), expected)
    assert expected.shape[1] == min(length + new, 48)


def often_ending() -> tuple[ReactiveTransformer, Tensor]:
    """A model, and prompts that it ends after different numbers of tokens, some of them never."""
    plain = chat_model()
    ids = prompt(6, 7)
    free = generate(plain, ids, plain.init_memory(6, seed=1), 20, stop_at_eos=False)[:, 7:]
    eos = next(token for token in free.flatten().tolist() if 2 <= int((free == token).any(1).sum()) < 6)
    return chat_model(tokens=SpecialTokens(eos=eos)), ids


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(repetition_penalty=1.2)])
def test_rows_are_as_alone_and_padded_after_their_end(sampling: Sampling) -> None:
    model, ids = often_ending()
    memory = model.init_memory(6, seed=1)
    together = generate(model, ids, memory, 20, sampling)
    alone = [naive(model, ids[row : row + 1], memory.select(row), 20, sampling)[0] for row in range(6)]
    assert len({len(row) for row in alone}) > 1
    assert together.shape[1] == max(map(len, alone))
    for found, expected in zip(together, alone, strict=True):
        assert torch.equal(found[: len(expected)], expected)
        assert (found[len(expected) :] == model.config.tokens.pad).all()


@pytest.mark.parametrize("stop_at_eos", [True, False])
@pytest.mark.parametrize("new", [3, 20, 100])
def test_prompts_of_different_lengths_are_as_alone(stop_at_eos: bool, new: int) -> None:
    model, ids = often_ending()
    ids = torch.cat([ids, prompt(6, 33, seed=2)], dim=1)
    lengths = [7, 1, 40, 12, 39, 7]
    mask = torch.arange(40) < torch.tensor(lengths)[:, None]
    ids = ids.masked_fill(~mask, 299)  # what stands at padding must not matter
    memory = model.init_memory(6, seed=1)
    sampling = Sampling(repetition_penalty=1.1)
    together = generate(model, ids, memory, new, sampling, stop_at_eos, mask)
    alone = [
        naive(model, ids[row : row + 1, :length], memory.select(row), new, sampling, stop_at_eos)[0]
        for row, length in enumerate(lengths)
    ]
    assert together.shape[1] == max(40, *map(len, alone))
    for found, expected in zip(together, alone, strict=True):
        assert torch.equal(found[: len(expected)], expected)
        assert (found[len(expected) :] == model.config.tokens.pad).all()


def test_streaming_gives_the_same_tokens_and_stops_when_all_rows_have() -> None:
    model, ids = often_ending()
    memory = model.init_memory(6, seed=1)
    steps = torch.stack(list(generate_tokens(model, ids, memory, 20)), dim=1)
    assert torch.equal(torch.cat([ids, steps], dim=1), generate(model, ids, memory, 20))
    ending = int((steps == model.config.tokens.eos).any(1).nonzero()[0])
    row = naive(model, ids[ending : ending + 1], memory.select(ending), 20)
    assert (
        len(list(generate_tokens(model, ids[ending : ending + 1], memory.select(ending), 20))) == row.shape[1] - 7 < 20
    )


def test_streaming_computes_only_what_is_asked_for(model: ReactiveTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    for name in ("begin", "step"):
        method = getattr(type(model.decoder), name)
        noted = lambda self, *args, method=method: calls.append(args[0].shape[1]) or method(self, *args)  # noqa: E731
        monkeypatch.setattr(type(model.decoder), name, noted)
    stream = generate_tokens(model, prompt(1, 5), model.init_memory(seed=1), 20)
    assert calls == []
    next(stream)
    assert calls == [5]
    next(stream)
    assert calls == [5, 1]


def test_memory_is_read_once(model: ReactiveTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = type(model.decoder).project_memory
    monkeypatch.setattr(type(model.decoder), "project_memory", lambda self, slots: reads.append(1) or read(self, slots))
    memory = model.init_memory(seed=1)
    expected = generate(model, prompt(1, 5), memory, 6)
    assert reads == [1]
    steps = list(generate_tokens(model, prompt(1, 5), memory, 6, memory_kv=read(model.decoder, memory.slots)))
    assert reads == [1]
    assert [int(step) for step in steps] == expected[0, 5:].tolist()


def test_the_model_has_the_same_method(model: ReactiveTransformer) -> None:
    ids, memory = prompt(2, 5), model.init_memory(2, seed=1)
    assert torch.equal(model.generate(ids, memory, max_new_tokens=7), generate(model, ids, memory, 7))
    assert torch.equal(model.generate(ids, memory, max_new_tokens=0), ids)
    full = prompt(1, 48)
    assert torch.equal(model.generate(full, memory.select(0), max_new_tokens=5), full)


def test_gradients_are_off_and_the_result_is_an_ordinary_tensor(model: ReactiveTransformer) -> None:
    result = generate(model, prompt(1, 3), model.init_memory(), 3)
    assert not result.requires_grad
    assert not result.is_inference()


@pytest.mark.parametrize(
    "experts", [None, MoEConfig(16, experts=6, top_k=2, shared_experts=1)], ids=["dense", "experts"]
)
def test_compiled_steps_make_the_same_tokens_without_a_graph_break(
    experts: MoEConfig | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    monkeypatch.setattr("rxt.generation.decode.compiled_step", lambda decoder: compile_step(decoder, "eager"))
    for seed in (0, 1):
        model = chat_model(seed, experts=experts)
        memory = model.init_memory(2, seed=1)
        assert torch.equal(
            generate(model, prompt(2, 4), memory, 10, compiled=True, stop_at_eos=False),
            generate(model, prompt(2, 4), memory, 10, stop_at_eos=False),
        )


def test_a_compiled_step_sees_few_lengths_of_its_cache() -> None:
    assert [cache_length(needed, 4_096) for needed in (1, 256, 257, 600, 4_000, 4_096)] == [
        256,
        256,
        512,
        1_024,
        4_096,
        4_096,
    ]
    assert cache_length(30, 48) == 48


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, about itself
def test_inductor_makes_the_same_tokens(model: ReactiveTransformer) -> None:
    ids, memory = prompt(2, 4), model.init_memory(2, seed=1)
    found = model.generate(ids, memory, max_new_tokens=10, compiled=True, stop_at_eos=False)
    assert torch.equal(found, model.generate(ids, memory, max_new_tokens=10, stop_at_eos=False))


def test_mistakes_are_named(model: ReactiveTransformer) -> None:
    memory = model.init_memory()
    for bad, message in [
        ((prompt(1, 49), memory, 1), "prompt has 49 tokens, the model takes at most 48"),
        ((prompt(1, 4)[:, :0], memory, 1), "at least one token"),
        ((prompt(2, 4), memory, 1), "2 prompts need as many memories, found 1"),
        ((prompt(1, 4), memory, -1), "max_new_tokens"),
        ((prompt(1, 4).int(), memory, 1), "torch.int64"),
        ((prompt(1, 4), chat_model(5).init_memory(), 1), "fingerprint"),
    ]:
        with pytest.raises(UserError, match=message):
            generate(model, *bad)
    for mask in ([[0, 1, 1, 1]], [[1, 0, 1, 0]], [[0, 0, 0, 0]], [[1, 1]]):
        with pytest.raises(UserError, match="mask"):
            generate(model, prompt(1, 4), memory, 1, mask=torch.tensor(mask, dtype=torch.bool))
