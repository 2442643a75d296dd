"""Conversations for a test to kill: ``python killed_talk.py STORE KIND``. It says which turns were seen as complete."""

import asyncio
import sys
from dataclasses import replace

import torch

from factories import chat_model, pooled_model, tiny_tokenizer
from rxt.engine.events import Finished, Question
from small_engine import serving

torch.set_num_threads(1)


async def talk() -> None:
    kind = sys.argv[2]
    model = chat_model(max_length=64) if kind == "plain" else pooled_model(max_length=64)
    user = "ann" if kind == "user" else ""
    async with serving(sys.argv[1], model, tiny_tokenizer()) as sessions:
        await sessions.recover()

        async def one(number: int) -> None:
            previous = None
            for turn in range(10_000):
                question = Question("", f"hello {number} {turn}", previous=previous, most=6, user=user)
                running = await sessions.begin(replace(question, scope="user") if user else question)
                async for event in running.events():
                    if isinstance(event, Finished):
                        print("seen", event.turn.id, flush=True)
                previous = running.draft.id

        await asyncio.gather(*(one(number) for number in range(3)))


asyncio.run(talk())
