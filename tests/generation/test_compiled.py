"""Compiled steps look only at what they are given: what may change around them, they follow; decoders they keep
apart."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from factories import chat_model
from rxt.errors import UserError
from rxt.generation.compiled import MOST_SHAPES, compile_step, compiled_step
from rxt.model.decoder import Decoder


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def arguments(decoder: Decoder, rows: int = 1, length: int = 8) -> tuple:
    """What a step takes, with something in its memory and its cache; the same numbers whenever they are asked for."""
    weight = decoder.embedding.weight
    draw = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(weight)

    cache = decoder.new_cache(rows, length)
    cache.keys.copy_(random(*cache.keys.shape))
    cache.values.copy_(random(*cache.values.shape))
    memory = decoder.project_memory(random(len(decoder.layers), rows, 6, weight.shape[1]))
    return torch.full((rows, 1), 7), torch.full((rows, 1), 3), memory, cache


@torch.no_grad()
def assert_says_what_the_decoder_says(step, decoder: Decoder, **sizes: int) -> Tensor:
    found, exact = step(decoder, *arguments(decoder, **sizes)), decoder.step(*arguments(decoder, **sizes))
    rounding = 16 * torch.finfo(exact.dtype).eps * float(exact.abs().max())  # sums in another order
    torch.testing.assert_close(found, exact, rtol=0, atol=rounding)
    return found


def test_two_decoders_of_one_shape_do_not_take_each_others_code() -> None:
    """Of the same sizes, but with another norm: only their modules tell, and those are not looked at."""
    first, second = chat_model(0).decoder.eval(), chat_model(0).decoder.eval()
    for layer in second.layers:
        layer.norm1 = torch.nn.LayerNorm(second.config.width, bias=False)
    steps = [compile_step(decoder, "eager") for decoder in (first, second)]
    said = assert_says_what_the_decoder_says(steps[0], first)
    assert not torch.allclose(assert_says_what_the_decoder_says(steps[1], second), said)


def test_changed_weights_are_read() -> None:
    decoder = chat_model(0).decoder.eval()
    step = compile_step(decoder, "eager")
    before = assert_says_what_the_decoder_says(step, decoder)
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(1.5)
    assert not torch.allclose(assert_says_what_the_decoder_says(step, decoder), before)
    decoder.double()
    assert assert_says_what_the_decoder_says(step, decoder).dtype == torch.float64


def test_every_shape_is_compiled() -> None:
    """PyTorch's own limit is 8."""
    made: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        made.append(1)
        return graph

    decoder = chat_model(0).decoder.eval()
    step = compile_step(decoder, backend)
    for _ in range(2):
        for rows in (1, 2, 4, 8):
            for length in (8, 16, 32):
                assert_says_what_the_decoder_says(step, decoder, rows=rows, length=length)
    assert len(made) == 12 < MOST_SHAPES


def test_without_a_compiler_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.exc import InductorError

    def without(*_: object) -> Tensor:
        raise InductorError(FileNotFoundError("no c++ here"), None)

    monkeypatch.setattr("rxt.generation.compiled.compile_step", lambda *_: without)
    model = chat_model(0)
    with pytest.raises(
        UserError, match="cannot be compiled: FileNotFoundError: no c\\+\\+ here; install a C\\+\\+ compiler"
    ):
        model.eval().generate(
            torch.tensor([[7]]), model.init_memory(), max_new_tokens=3, stop_at_eos=False, compiled=True
        )


def test_a_decoders_code_is_kept_for_as_long_as_the_decoder() -> None:
    decoder, other = chat_model(0).decoder, chat_model(0).decoder
    assert compiled_step(decoder) is compiled_step(decoder) is not compiled_step(other)
    code, code_of_other = weakref.ref(compiled_step(decoder)), weakref.ref(compiled_step(other))
    del decoder
    gc.collect()
    assert code() is None
    assert code_of_other() is compiled_step(other)
