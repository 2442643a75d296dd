"""Tiny tokenizers of pre-trained models, stored by ``transformers`` with chat templates as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

transformers = pytest.importorskip("transformers")

TEXTS = ["The capital of Graz is far from there.\nWhat is your name? My name is Ann, and I live in room 17."] * 5
TEXTS += ["user\nassistant\nsystem\n[INST] <<SYS>> <</SYS>> [/INST] header\n\nUser: Assistant:"] * 5

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{{- bos_token }}\n{%- for message in messages %}\n"
    "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim"
    " + '<|eot_id|>' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}\n{%- endif %}\n"
)
LLAMA31 = (
    "{{- bos_token }}\n{%- if not tools is defined %}{%- set tools = none %}{%- endif %}\n"
    "{%- if messages[0]['role'] == 'system' %}\n    {%- set told = messages[0]['content'] | trim %}\n"
    "    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set told = '' %}\n{%- endif %}\n"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}\n"
    "{{- 'Today Date: ' + strftime_now('%d %b %Y') + '\n\n' }}\n{{- told + '<|eot_id|>' }}\n"
    "{%- if tools is not none %}{{- raise_exception('no tools') }}{%- endif %}\n"
) + LLAMA3.removeprefix("{{- bos_token }}\n")
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
TEMPLATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "chatml": (CHATML, ("<|im_start|>", "<|im_end|>", "<|endoftext|>")),
    "chatml-spare": (CHATML, ("<|im_start|>", "<|im_end|>", "<|one|>", "<|two|>", "<|three|>", "<|four|>", "<|five|>")),
    "llama2": (LLAMA2, ("<s>", "</s>", "<unk>")),
    "llama3": (LLAMA3, ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")),
    "llama3.1": (LLAMA31, ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")),
    "mistral": (MISTRAL, ("<s>", "</s>", "<pad>")),
}
"""The template, and the special tokens: the first is [BOS], the second [EOS]."""


def byte_level(special: tuple[str, ...]) -> Tokenizer:
    """Byte-level BPE of at most 400 tokens, as GPT-2's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=alphabet, special_tokens=list(special), show_progress=False
        ),
    )
    return tokenizer


def sentence_pieces(special: tuple[str, ...]) -> Tokenizer:
    """BPE over whole sentences whose spaces are ▁, one of them before every text, as Llama 2's."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split("▁", "merged_with_next")]
    )
    alphabet = sorted({chr(code) for code in range(33, 127)} | {"▁", "\n"})
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, special_tokens=list(special), show_progress=False
        ),
    )
    values = json.loads(tokenizer.to_str())
    values["pre_tokenizer"] = None  # no piece that was learned lies in two of its parts
    vocabulary = values["model"]["vocab"]
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    return Tokenizer.from_str(json.dumps(values))


def store_tokenizer(folder: Path, name: str, pieces: bool = False, template: str | None = None, **named: str) -> Any:
    """Store one into a folder; returns that of ``transformers``. ``template``: in place of its own; "" for none."""
    own, special = TEMPLATES[name]
    made = sentence_pieces(special) if pieces else byte_level(special)
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=special[0], eos_token=special[1], **named
    )
    theirs.add_special_tokens({"additional_special_tokens": list(special)})
    theirs.chat_template = (own if template is None else template) or None
    theirs.save_pretrained(folder)
    return theirs
