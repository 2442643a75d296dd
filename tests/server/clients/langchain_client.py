"""LangChain: invoke, stream, a system message, tools that are offered, structured answers, the Responses API."""
# pyright: reportMissingImports=false

import sys

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return city


chat = ChatOpenAI(model="rxt", base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
system, rex, dog = (
    SystemMessage("My dog is called Rex."),
    HumanMessage("Hello!"),
    HumanMessage("What is my dog called?"),
)
assert "Rex" in chat.invoke([system, dog]).content
said = chat.invoke([system, rex])
assert "Rex" in chat.invoke([system, rex, said, dog]).content
assert "Rex" in chat.invoke([system, AIMessage("Hello, I am here."), rex, dog]).content
assert "".join(str(chunk.content) for chunk in chat.stream([system, dog])) == chat.invoke([system, dog]).content
assert "Rex" in chat.bind_tools([weather]).invoke([system, dog]).content
assert "Rex" not in chat.bind(stop=["Rex"]).invoke([system, dog]).content
told = chat.bind(logprobs=True, top_logprobs=1).invoke([system, dog])
assert told.response_metadata["logprobs"]["content"]
if sys.argv[2:] == ["json"]:
    form = {"title": "Dog", "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert isinstance(chat.with_structured_output(form, method="json_schema").invoke([system, dog])["name"], str)
responses = ChatOpenAI(
    model="rxt", base_url=f"{sys.argv[1]}/v1", api_key="none", use_responses_api=True, use_previous_response_id=True
)
first = responses.invoke([HumanMessage("My dog is called Rex.")])
assert "Rex" in responses.invoke([HumanMessage("My dog is called Rex."), first, dog]).text
assert "Rex" in "".join(chunk.text for chunk in responses.stream([system, dog]))
print("works")
