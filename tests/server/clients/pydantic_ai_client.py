"""pydantic-ai: both of its OpenAI models, instructions, a history, a tool that is offered, streaming, JSON."""
# pyright: reportMissingImports=false

import asyncio
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

DOG = "What is my dog called?"
provider = OpenAIProvider(base_url=f"{sys.argv[1]}/v1", api_key="none")


class Dog(BaseModel):
    name: str


async def main() -> None:
    for model in (OpenAIChatModel("rxt", provider=provider), OpenAIResponsesModel("rxt", provider=provider)):
        for agent in (
            Agent(model, instructions="My dog is called Rex."),
            Agent(model, system_prompt="My dog is called Rex."),
        ):
            assert "Rex" in (await agent.run(DOG)).output
        agent = Agent(model)

        @agent.tool_plain
        def weather(city: str) -> str:
            """The weather in a city."""
            return city

        first = await agent.run("My dog is called Rex.")
        second = await agent.run(DOG, message_history=first.all_messages())
        assert "Rex" in second.output
        async with agent.run_stream(DOG, message_history=first.all_messages()) as stream:
            assert await stream.get_output() == second.output
        if sys.argv[2:] == ["json"]:
            found = (await Agent(model, output_type=NativeOutput(Dog)).run("My dog is called Rex.")).output
            assert isinstance(found, Dog)
    print("works")


asyncio.run(main())
