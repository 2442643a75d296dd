"""OpenAI's Agents SDK: its own loop of tool calls with both of its models, streamed and not, and in a conversation."""
# pyright: reportMissingImports=false

import asyncio
import sys

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from openai.types.shared import Reasoning

set_tracing_disabled(True)
client = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
called: list[int] = []


@function_tool
def add(a: int) -> str:
    """One more."""
    called.append(a)
    return str(a + 1)


def agent(model: OpenAIResponsesModel | OpenAIChatCompletionsModel) -> Agent:
    return Agent("adds", model=model, tools=[add], model_settings=ModelSettings(reasoning=Reasoning(effort="low")))


def check(answer: str) -> None:
    assert (answer, called) == ("Ann", [7, 7]), (answer, called)
    called.clear()


async def main() -> None:
    responses = OpenAIResponsesModel("rxt", client)
    for model in (responses, OpenAIChatCompletionsModel("rxt", client)):
        check((await Runner.run(agent(model), "my name")).final_output)
        stream = Runner.run_streamed(agent(model), "my name")
        async for _ in stream.stream_events():
            pass
        check(stream.final_output)
    conversation = await client.conversations.create()
    check((await Runner.run(agent(responses), "my name", conversation_id=conversation.id)).final_output)
    print("works")


asyncio.run(main())
