"""What a recipe says of the tokenizer reaches the trained model, and its answers can be told and streamed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from micro import RUN, quiet

import rxt
from rxt.data.tokenizer import ChatTokenizer
from rxt.generation.sampling import Sampling
from rxt.generation.turn import Token
from rxt.training.config import TokenizerConfig
from rxt.training.pipeline import train


def test_case_marks_and_short_pieces_from_the_recipe_to_the_answer(tmp_path: Path) -> None:
    options = TokenizerConfig(vocab_size=400, conversations=30, case_marks=True, piece_length=3)
    folder = train(replace(RUN, tokenizer=options), tmp_path / "run", quiet())
    tokenizer = ChatTokenizer.load(folder)
    assert tokenizer.case_marks
    merges = range(len(tokenizer.special_ids) + 256, tokenizer.vocab_size)
    assert max(len(tokenizer.spell([token])) for token in merges) == 3

    # At this temperature an untrained model says tokens of all kinds, marks among them.
    query = "My name is WENDELIN."
    told, streamed = (rxt.load_chat(folder, seed=1, sampling=Sampling(temperature=2.0)) for _ in range(2))
    answer = told.ask(query)
    assert answer
    assert "".join(event.text for event in streamed.stream(query) if isinstance(event, Token)) == answer
