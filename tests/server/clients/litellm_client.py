"""LiteLLM: completion, streaming, a system message, tools that are offered, the Responses API."""
# pyright: reportMissingImports=false

import sys

import litellm

options = {"model": "openai/rxt", "api_base": f"{sys.argv[1]}/v1", "api_key": "none", "num_retries": 0}
system, dog = (
    {"role": "system", "content": "My dog is called Rex."},
    {"role": "user", "content": "What is my dog called?"},
)
first = litellm.completion(messages=[system, dog], **options)
assert "Rex" in first.choices[0].message.content
again = litellm.completion(messages=[system, dog, first.choices[0].message.model_dump(), dog], **options)
assert "Rex" in again.choices[0].message.content
chunks = litellm.completion(messages=[system, dog], stream=True, **options)
assert "Rex" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
offered = litellm.completion(messages=[system, dog], tools=[tool], tool_choice="auto", seed=1, user="anna", **options)
assert "Rex" in offered.choices[0].message.content
assert "Rex" not in litellm.completion(messages=[system, dog], stop=["Rex"], **options).choices[0].message.content
response = litellm.responses(input="What is my dog called?", instructions="My dog is called Rex.", **options)
assert "Rex" in response.output[0].content[0].text
print("works")
