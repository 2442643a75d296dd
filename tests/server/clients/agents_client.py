"""OpenAI's Agents SDK: both of its models, instructions, streaming, tools that are offered, conversations, sessions."""
# pyright: reportMissingImports=false

import asyncio
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

set_tracing_disabled(True)
client = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
REX, DOG = "My dog is called Rex.", "What is my dog called?"


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return city


async def main() -> None:
    for model in (OpenAIResponsesModel("rxt", client), OpenAIChatCompletionsModel("rxt", client)):
        told = Agent("told", instructions=REX, model=model, tools=[weather])
        first = await Runner.run(told, DOG)
        assert "Rex" in first.final_output
        again = await Runner.run(told, [*first.to_input_list(), {"role": "user", "content": DOG}])
        assert "Rex" in again.final_output
        stream = Runner.run_streamed(told, DOG)
        async for _ in stream.stream_events():
            pass
        assert stream.final_output == first.final_output
        session = SQLiteSession("dogs")
        await Runner.run(Agent("plain", model=model), REX, session=session)
        assert "Rex" in (await Runner.run(Agent("plain", model=model), DOG, session=session)).final_output
    plain = Agent("plain", model=OpenAIResponsesModel("rxt", client))
    first = await Runner.run(plain, REX)
    second = await Runner.run(plain, DOG, previous_response_id=first.last_response_id)
    assert "Rex" in second.final_output
    conversation = await client.conversations.create()
    await Runner.run(plain, REX, conversation_id=conversation.id)
    assert "Rex" in (await Runner.run(plain, DOG, conversation_id=conversation.id)).final_output
    kept = OpenAIConversationsSession(openai_client=client)
    await Runner.run(plain, REX, session=kept)
    assert "Rex" in (await Runner.run(plain, DOG, session=kept)).final_output
    assert await kept.pop_item()
    await kept.clear_session()
    print("works")


asyncio.run(main())
