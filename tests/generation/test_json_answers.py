"""Answers in JSON are JSON whatever a model would say, and end in time."""

from __future__ import annotations

import json
from importlib.util import find_spec
from itertools import pairwise

import pytest
import torch

from factories import chat_model, tiny_tokenizer
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.batch import BatchDecoder
from rxt.generation.json_answers import OBJECT, JsonGrammar
from rxt.generation.sampling import Sampling, sample

pytestmark = pytest.mark.skipif(
    find_spec("llguidance") is None, reason="llguidance is missing: pip install 'reactive-transformers[json]'"
)
PERSON = json.dumps(
    {
        "type": "object",
        "properties": {
            "firstName": {"type": "string"},
            "age": {"type": "integer"},
            "kind": {"enum": ["Cat", "dog"]},
            "tags": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        },
        "required": ["firstName", "age", "kind", "tags"],
        "additionalProperties": False,
    }
)
PROMPT = 5


def test_every_answer_is_of_its_schema_and_others_are_what_they_are_alone() -> None:
    tokenizer, model = tiny_tokenizer(), chat_model(max_length=160)
    grammar = JsonGrammar(tokenizer, model.config.decoder.vocab_size)
    drawn = torch.Generator().manual_seed(1)
    prompts = torch.randint(10, 300, (12, PROMPT), generator=drawn)
    memory = model.init_memory(12, seed=2)
    batch = BatchDecoder(model, 12)
    schemas = [OBJECT, PERSON, None] * 4
    options = [Sampling(temperature, seed=seed) for seed, temperature in enumerate([0.0, 1.0, 1.7] * 4)]
    room = [150, 120, 30, 8, 90, 20, 40, 110, 10, 5, 100, 25]
    handles = [
        batch.admit(
            prompts[index],
            memory.select(index),
            options[index],
            room[index],
            constraint=None if schema is None else grammar.begin(schema, room[index]),
        )
        for index, schema in enumerate(schemas)
    ]
    said: list[list[int]] = [[] for _ in handles]
    ends: dict[int, str | None] = {}
    while len(batch):
        for handle, word in batch.step().items():
            said[handles.index(handle)].append(word.token)
            ends[handles.index(handle)] = word.finish_reason
    for index, schema in enumerate(schemas):
        if schema is not None:
            assert ends[index] == "stop", tokenizer.decode(said[index])
            found = json.loads(tokenizer.decode(said[index]))
            assert isinstance(found, dict)
            if schema == PERSON:
                assert list(found) == ["firstName", "age", "kind", "tags"]
                assert found["kind"] in ("Cat", "dog")
                assert len(found["tags"]) >= 1
        constraint = None if schema is None else grammar.begin(schema, room[index])
        ids, generator = prompts[index], options[index].generator(prompts.device)
        for left in reversed(range(room[index])):
            with torch.no_grad():
                logits = model.decode(ids[None], memory.select(index))[:, -1]
            if constraint is not None:
                logits = logits.masked_fill(~constraint.allowed(), -torch.inf)
            token = int(sample(logits, options[index], [generator]))
            token = token if constraint is None else constraint.take(token, left)
            ids = torch.cat([ids, torch.tensor([token])])
            if token == model.config.tokens.eos:
                break
        assert ids[PROMPT:].tolist() == said[index], "alone it says the same"


@pytest.mark.parametrize("case_marks", [False, True])
def test_an_answer_ends_in_the_room_that_there_is(case_marks: bool) -> None:
    texts = ['{"firstName": "Ann", "age": 3, "kind": "Cat", "tags": [{}]}', "Hello there, how are you?"] * 3
    tokenizer = ChatTokenizer.train(texts, 330, case_marks=case_marks)
    grammar = JsonGrammar(tokenizer, 340)
    for schema in (OBJECT, PERSON):
        longest = 400
        shortest = next(room for room in range(1, longest) if grammar.begin(schema, room).way)
        for room, seed in ((shortest, 0), (shortest + 1, 1), (shortest + 9, 2), (shortest + 40, 3)):
            answer, drawn = grammar.begin(schema, room), torch.Generator().manual_seed(seed)
            said: list[int] = []
            while not said or said[-1] != tokenizer.tokens.eos:
                allowed = answer.allowed()
                chosen = int(torch.multinomial(allowed.float(), 1, generator=drawn))
                said.append(answer.take(chosen, room - len(said) - 1))
                assert allowed[said[-1]]
            assert len(said) <= room
            found = json.loads(tokenizer.decode(said))
            if schema == PERSON:
                assert list(found) == ["firstName", "age", "kind", "tags"]
                assert found["kind"] in ("Cat", "dog")
    assert grammar.begin(PERSON, 3).way is None, "such an answer is cut like any other"


def test_the_model_says_what_it_likes_while_there_is_room() -> None:
    tokenizer = tiny_tokenizer()
    grammar = JsonGrammar(tokenizer, 320)
    ids = [*tokenizer.encode('{"a":"hello"}'), tokenizer.tokens.eos]
    answer = grammar.begin(OBJECT, 60)
    assert [answer.take(token, 59 - index) for index, token in enumerate(ids)] == ids


def test_a_schema_that_cannot_be() -> None:
    grammar = JsonGrammar(tiny_tokenizer(), 320)
    with pytest.raises(UserError, match="the JSON schema cannot be used: Invalid type: objet"):
        grammar.begin('{"type": "objet"}', 20)
    with pytest.raises(UserError, match="the JSON schema cannot be used"):
        grammar.begin('{"type": "string", "pattern": "("}', 20)


def test_ways_out_are_shortest_first() -> None:
    tokenizer = tiny_tokenizer()
    way = JsonGrammar(tokenizer, 320).begin(OBJECT, 20).way
    assert way is not None
    assert tokenizer.decode(way) == "{}"
    assert all(token not in tokenizer.special_ids for token, _ in pairwise(way))
