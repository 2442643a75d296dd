"""Do the published framework (rxlm 0.3.78) and this project read each other's files, and compute the same?

Two environments, one folder. With the published framework installed (``pip install --no-deps rxlm==0.3.78`` beside
torch, transformers, tokenizers, huggingface_hub, nltk, scikit-learn and datasets)::

    python benchmarks/published_cases.py make FOLDER    # models of many kinds, weights random, and what they compute

With this project installed::

    python benchmarks/published_cases.py check FOLDER   # load them, compute the same, and write each one back

And again with the published framework::

    python benchmarks/published_cases.py read FOLDER    # load what was written back, and compare every tensor

The published framework is used from outside only: its constructors, ``save_pretrained``, ``from_pretrained`` and calls.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ALPHA_TOKENS = {f"{name}_token_id": index for index, name in enumerate(("pad", "bos", "eos", "query", "answer"))}
BETA_TOKENS = ALPHA_TOKENS | {
    f"{name}_token_id": index + 5 for index, name in enumerate(("think", "tool_use", "tool_call", "internal"))
}
SQA = {"self_att_type": "sqa", "att_groups": 2, "att_query_groups": 2}
SQA |= {"cross_att_type": "sqa", "cross_att_groups": 2, "cross_att_query_groups": 2}
STACK = {"num_layers": 2, "vocab_size": 48, "embed_dim": 32, "att_heads": 4, "seq_len": 24, "stm_size": 12, **SQA}
STACK |= {"use_flash_attention": False, "use_gated": True, "ff_activation": "silu", "use_rms_norm": True}
MIXTURE = {
    "ff_dim": 24,
    "use_moe": True,
    "num_experts": 4,
    "moe_top_k": 2,
    "num_shared_experts": 0,
    "use_vectorized_moe": True,
}
MEMORY = {
    "num_layers": 2,
    "embed_dim": 32,
    "att_heads": 4,
    "seq_len": 24,
    "stm_size": 12,
    "use_flash_attention": False,
    "att_dropout": 0.0,
}
MEMORY |= {
    "att_type": "sqa",
    "att_groups": 2,
    "att_query_groups": 2,
    "norm_type": "classic-rms",
    "interlayer_att_dropout": 0.0,
}
MEMORY |= {"interlayer_att_type": "sqa", "interlayer_att_groups": 2, "interlayer_att_query_groups": 2}
MEMORY |= {
    "use_gated_residual": True,
    "residual_gate_type": "linear",
    "residual_per_slot_gate": True,
    "residual_gate_init": 0.0,
}
MEMORY |= {"residual_gate_slot_status_type": "mean", "use_tanh_residual_gate": False}
Change = dict[str, Any]
UNSTORED = re.compile(r"\.rope\.|^encoder\.model\.stm\.memory$|\.slot_status\.")
"""Tables that are computed, a memory that is not read, and what static gates do not look at."""


def cases() -> Iterator[tuple[str, bool, Change, Change, Change]]:
    """Name, whether it is a Beta model, and what its decoder, encoder and memory attention have instead of the
    usual."""
    shared = {"num_shared_experts": 2, "shared_expert_dim": 20}
    for mode in ("local", "global", "off"):
        yield f"routed-{mode}", False, {"moe_bias_mode": mode}, {}, {}
        for count, weighted in product((1, 2, 3), (True, False)):
            change = {
                "num_shared_experts": count,
                "moe_shared_experts_bias_mode": mode,
                "moe_use_weighted_shared_experts": weighted,
            }
            yield f"shared-{count}-{mode}-{'weighted' if weighted else 'plain'}", False, shared | change, {}, {}
    for count, weighted in product((0, 1, 2), (True, False)):
        change = {"use_vectorized_moe": False, "num_shared_experts": count, "moe_use_weighted_shared_experts": weighted}
        yield f"list-{count}-{'weighted' if weighted else 'plain'}", False, change, {}, {}
    for listed in (True, False):
        change = {"use_vectorized_moe": not listed, "use_gated": False, "num_shared_experts": 1}
        yield f"ungated-{'list' if listed else 'stacked'}", False, change, {}, {}
    before = {"stateless_layers_config": ["dense", "moe"], "final_stateless_layers_config": ["moe", "dense"]}
    yield "stateless", False, {**before, "dense_layer_dim": 30}, {}, {}
    yield "stateless-default-width", False, before, {}, {}
    yield "stateless-list", False, {**before, "dense_layer_dim": 30, "use_vectorized_moe": False}, {}, {}
    yield "stateless-dense", False, {**before, "dense_layer_dim": 30, "use_moe": False}, {}, {}
    for activation in ("sigmoid", "silu", "relu", "gelu"):
        yield (
            f"gated-{activation}",
            False,
            {"use_gated_attention": True, "gated_attention_activation": activation},
            {},
            {},
        )
    yield "gated-self-only", False, {"use_gated_attention": True, "use_gated_cross_attention": False}, {}, {}
    yield "gated-encoder", False, {}, {"use_gated_attention": True}, {}
    yield "no-output-bias", False, {"use_attention_output_bias": False}, {"use_attention_output_bias": False}, {}
    yield "layer-norms", False, {"use_rms_norm": False}, {"use_rms_norm": False}, {}
    for norm in ("layer_norm", "rms_norm"):
        yield f"head-{norm}", False, {"use_head_norm": True, "head_norm_type": norm}, {}, {}
    for activation in ("relu", "gelu", "silu", "swish", "sigmoid", "linear"):
        yield f"activation-{activation}", False, {"ff_activation": activation}, {"ff_activation": activation}, {}
    for kind, groups, queries in (("mha", 1, None), ("gqa", 2, None), ("mqa", 1, None), ("sqa", 1, 2)):
        own = {"self_att_type": kind, "att_groups": groups, "att_query_groups": queries}
        cross = {f"cross_{key.removeprefix('self_')}": value for key, value in own.items()}
        yield f"heads-{kind}", False, own | cross, {}, {}
    for kind, per_slot, status, tanh in product(
        ("static", "elementwise", "linear"), (True, False), ("mean", "linear"), (True, False)
    ):
        if kind == "linear" or per_slot or status == "mean":
            gate = {"residual_gate_type": kind, "residual_per_slot_gate": per_slot}
            gate |= {"residual_gate_slot_status_type": status, "use_tanh_residual_gate": tanh}
            name = f"gate-{kind}-{'slot' if per_slot else 'layer'}-{status}-{'tanh' if tanh else 'sigmoid'}"
            yield name, False, {}, {}, gate
    yield "gate-none", False, {}, {}, {"use_gated_residual": False}
    bare = {"moe_bias_mode": "off", "moe_shared_experts_bias_mode": "off", "use_attention_output_bias": False}
    beta = (
        shared
        | bare
        | {"use_gated_attention": True, "use_head_norm": True, "head_norm_type": "rms_norm", "dense_layer_dim": 48}
    )
    for name, change in (
        ("plain", {"stateless_layers_config": ["dense", "moe"]}),
        ("one-shared", {"num_shared_experts": 1, "moe_use_weighted_shared_experts": True}),
        ("weighted", {"moe_use_weighted_shared_experts": True}),
        ("final", before),
        ("list", {"use_vectorized_moe": False}),
    ):
        yield f"beta-{name}", True, beta | change, {}, {"num_groups": 1}


def make(folder: Path) -> int:
    """Models of the published framework, and what they compute for seven tokens and a random memory."""
    from rxlm.rxt.models import RxTAlpha, RxTBeta  # type: ignore[import-not-found]

    for name, is_beta, decoder, encoder, memory in cases():
        torch.manual_seed(0)
        blind = {"ff_dim": 40, "skip_memory_cross_attention": True}
        parts = [STACK | MIXTURE | decoder, STACK | blind | encoder, MEMORY | memory]
        variant = "grouped-self-interlayer" if is_beta else "self-interlayer"
        kind, tokens = (RxTBeta, BETA_TOKENS) if is_beta else (RxTAlpha, ALPHA_TOKENS)
        model = kind(*copy.deepcopy(parts), dict(tokens), memory_attention_variant=variant)
        ids, slots = torch.randint(5, 48, (1, 7)), torch.randn(2, 1, 12, 32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.3)
            model.share_components()
            model.eval().save_pretrained(folder / name)
            for key, buffer in model.named_buffers():
                if key.endswith("stm.memory"):
                    buffer.copy_(slots)
            logits, encoded = first(model.decoder(ids)), model.encoder(ids)[1]
            updated = model.memory_attention(encoded)
        computed = {"ids": ids, "slots": slots, "logits": logits, "encoded": encoded, "updated": updated}
        save_file(
            {key: value.clone().contiguous() for key, value in computed.items()}, folder / name / "computed.safetensors"
        )
        print("made", name)
    return 0


def check(folder: Path) -> int:
    """Load each model with this project, compare, and write it back beside."""
    from rxt import ReactiveTransformer

    wrong = 0
    for place in sorted(path.parent for path in folder.glob("*/computed.safetensors")):
        model, computed = ReactiveTransformer.from_pretrained(place), load_file(place / "computed.safetensors")
        with torch.no_grad():
            logits = model.decoder(computed["ids"], computed["slots"])
            encoded = model.encoder(computed["ids"])
            updated = model.memory_attention(computed["slots"], computed["encoded"])
        found = {"logits": logits, "encoded": encoded, "updated": updated}
        worst = max(float((value - computed[key]).abs().max()) for key, value in found.items())
        wrong += worst > 1e-4
        print(f"{'ok   ' if worst <= 1e-4 else 'WRONG'} {place.name}  {worst:.1e}")
        model.save_pretrained(place / "written", layout="published")
    print(f"{wrong} wrong")
    return int(wrong > 0)


def read(folder: Path) -> int:
    """Load what this project has written with the published framework: it must find every parameter, and no other."""
    from rxlm.rxt.models import RxTAlpha, RxTBeta  # type: ignore[import-not-found]

    wrong = 0
    for place in sorted(path.parent for path in folder.glob("*/written/config.json")):
        tokens = json.loads((place / "config.json").read_text())["tokenizer_config"]
        again = (RxTBeta if "think_token_id" in tokens else RxTAlpha).from_pretrained(place).state_dict()
        written = load_file(place / "model.safetensors")
        differ = [key for key, value in written.items() if key not in again or not torch.equal(again[key], value)]
        differ += [key for key in again if key not in written and not UNSTORED.search(key)]
        wrong += bool(differ)
        print(f"{'ok   ' if not differ else 'WRONG'} {place.parent.name}  {' '.join(differ[:3])}")
    print(f"{wrong} wrong")
    return int(wrong > 0)


def first(result: Any) -> torch.Tensor:
    """The published decoder returns its logits, or a tuple that begins with them."""
    return result[0] if isinstance(result, tuple) else result


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("make", "check", "read"):
        sys.exit("usage: published_cases.py make|check|read FOLDER")
    sys.exit({"make": make, "check": check, "read": read}[sys.argv[1]](Path(sys.argv[2])))
