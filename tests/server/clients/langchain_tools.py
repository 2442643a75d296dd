"""LangChain's tool-calling agent: its own loop, with chat completions and with the Responses API."""
# pyright: reportMissingImports=false

import sys

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

called: list[int] = []


@tool
def add(a: int) -> str:
    """One more."""
    called.append(a)
    return str(a + 1)


address = {"model": "rxt", "base_url": f"{sys.argv[1]}/v1", "api_key": "none", "max_retries": 0}
asked = {"messages": [HumanMessage("my name")]}
for model in (
    ChatOpenAI(**address, reasoning_effort="low"),
    ChatOpenAI(**address, use_responses_api=True, reasoning={"effort": "low"}),
):
    agent = create_agent(model, [add])
    said = agent.invoke(asked)["messages"]
    assert [type(message) for message in said[1:]] == [AIMessage, ToolMessage, AIMessage, ToolMessage, AIMessage]
    assert (said[-1].text, said[1].text) == ("Ann", "hello")
    *_, last = agent.stream(asked, stream_mode="values")
    assert last["messages"][-1].text == "Ann"
    assert called == [7, 7] * 2
    called.clear()
print("works")
