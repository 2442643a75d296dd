"""The published framework (rxlm 0.3.78), timed from outside: constructors, ``interact``, ``update_stm``, and calls of
its parts.

Started by ``compare_published.py`` with the framework's own Python. Its trainers bring data sets, callbacks and
validation of their own, so a training step is timed as its parts under the same loop as ours: forward, cross-entropy,
backward, clipping, fused AdamW.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from rxlm.rxt.models import RxTAlpha  # type: ignore[import-not-found]
from torch import Tensor, nn
from worker_loop import Action, Sizes, clock, serve


def build(size: dict[str, Any]) -> Any:
    """An RxTAlpha of a preset's sizes, symmetric SQA everywhere, with its fastest experts."""
    heads = {"att_heads": size["heads"], "att_groups": size["heads"] // 2, "att_query_groups": size["heads"] // 2}
    cross = {
        "cross_att_type": "sqa",
        "cross_att_groups": size["heads"] // 2,
        "cross_att_query_groups": size["heads"] // 2,
    }
    stack = {
        "num_layers": size["layers"],
        "embed_dim": size["width"],
        "vocab_size": size["vocab_size"],
        "seq_len": size["max_length"],
    }
    stack |= {
        "stm_size": size["slots"],
        "self_att_type": "sqa",
        "use_gated": True,
        "ff_activation": "silu",
        "use_rms_norm": True,
    }
    stack |= {"use_flash_attention": False, "att_dropout": 0.0, "ff_dropout": 0.0, **heads, **cross}
    experts = {"use_moe": True, "num_experts": size["experts"], "moe_top_k": size["top_k"], "num_shared_experts": 0}
    decoder = stack | experts | {"ff_dim": size["decoder_dim"], "use_vectorized_moe": size["vectorized"]}
    encoder = stack | {"ff_dim": size["encoder_dim"], "skip_memory_cross_attention": True}
    memory = {
        "num_layers": size["layers"],
        "embed_dim": size["width"],
        "seq_len": size["max_length"],
        "stm_size": size["slots"],
        **heads,
    }
    between = {"interlayer_att_groups": size["heads"] // 2, "interlayer_att_query_groups": size["heads"] // 2}
    memory |= {
        "att_type": "sqa",
        "interlayer_att_type": "sqa",
        "att_dropout": 0.0,
        "interlayer_att_dropout": 0.0,
        **between,
    }
    memory |= {
        "norm_type": "classic-rms",
        "use_gated_residual": True,
        "residual_gate_type": "linear",
        "residual_per_slot_gate": True,
    }
    memory |= {"residual_gate_init": 0.0, "residual_gate_slot_status_type": "mean", "use_tanh_residual_gate": False}
    memory |= {"use_flash_attention": False}
    tokens = {f"{name}_token_id": index for index, name in enumerate(("pad", "bos", "eos", "query", "answer"))}
    model = RxTAlpha(decoder, encoder, memory, tokens, memory_attention_variant=size["variant"])
    model.share_components()
    model.decoder.model.stateless_layers = nn.ModuleList()  # 0.3.78 does not generate without
    return model


def make(size: dict[str, Any], sizes: Sizes) -> dict[str, Action]:
    model, now = build(size), clock(size["clock"])
    stm, vocab_size = model.decoder.model.stm, size["vocab_size"]
    fresh = torch.randn(size["layers"], 1, size["slots"], size["width"])
    head = nn.Sequential(
        nn.Linear(size["width"], size["width"]),
        nn.GELU(),
        nn.LayerNorm(size["width"]),
        nn.Linear(size["width"], vocab_size),
    )
    trained = list({id(parameter): parameter for parameter in [*model.parameters(), *head.parameters()]}.values())
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    rows = torch.randint(5, vocab_size, (sizes.rows, sizes.tokens))
    mask = torch.ones_like(rows, dtype=torch.bool)
    prompt = torch.randint(5, vocab_size, (1, sizes.prompt_tokens))

    def first(result: Any) -> Tensor:
        return result[0] if isinstance(result, tuple) else result

    def decode() -> float:
        """Tokens a second after the first one."""
        model.eval()
        stm.memory = fresh.clone()
        times = []
        with torch.no_grad():
            answer = model.interact(
                prompt, torch.ones_like(prompt), temperature=1.0, max_seq_len=sizes.prompt_tokens + sizes.new_tokens
            )
            for token in answer:
                if token < 0:  # a mark, no token: the answer has ended
                    break
                times.append(now())
        model.reset_self_attn_cache()
        return (len(times) - 1) / (times[-1] - times[0])

    def memorize() -> float:
        """Seconds."""
        model.eval()
        stm.memory = fresh.clone()
        began = now()
        with torch.no_grad():
            model.update_stm(rows[:1], mask[:1].long())
        return now() - began

    def start_training() -> float:
        """The time. The framework's answers, not read to their end, leave gradients switched off."""
        torch.set_grad_enabled(True)
        model.train()
        return now()

    def finish(began: float, tokens: int) -> float:
        torch.nn.utils.clip_grad_norm_([parameter for parameter in trained if parameter.grad is not None], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return tokens / (now() - began)

    def joint() -> float:
        """Tokens a second."""
        began = start_training()
        hidden = torch.rand(rows.shape) < 0.15
        encoded = model.encoder(rows.masked_fill(hidden, 0), mask)[1]  # (L, B, T, D)
        guesses = F.cross_entropy(head(encoded[-1][hidden]), rows[hidden])
        stm.memory = encoded.detach() + 0.2 * torch.randn_like(encoded)
        logits = first(model.decoder(rows, mask))
        loss = guesses + F.cross_entropy(logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        return finish(began, rows.numel())

    def memory_aware() -> float:
        """Tokens a second. The graph is cut after every turn, as the framework does it."""
        began = start_training()
        answer = sizes.tokens // 2
        stm.memory = fresh.repeat(1, sizes.rows, 1, 1)
        for turn in range(sizes.turns):
            if turn:
                stm.memory = stm.memory.detach()
                written = model.memory_attention(model.encoder(rows, mask)[1], mask)
                if written is not None:
                    stm.memory = written
            logits = first(model.decoder(rows, mask))
            F.cross_entropy(logits[:, answer - 1 : -1].flatten(0, 1), rows[:, answer:].flatten()).backward()
        return finish(began, sizes.turns * rows.numel())

    return {"decode": decode, "memorize": memorize, "joint": joint, "memory_aware": memory_aware}


if __name__ == "__main__":
    serve(make)
