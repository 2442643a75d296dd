"""Use a running server through OpenAI's client: ``rxt serve`` in one terminal, ``python examples/openai_client.py``
in another. Needs ``pip install openai 'reactive-transformers[serve]'``.
"""

import sys

from openai import OpenAI


def main(url: str = "http://127.0.0.1:8000") -> None:
    client = OpenAI(base_url=f"{url}/v1", api_key="none")
    told = client.responses.create(model="rxt", input="My dog is called Rex.")
    # Only the newest message is sent. The server holds the memory that the response before it left.
    asked = client.responses.create(model="rxt", input="What is my dog called?", previous_response_id=told.id)
    print(asked.output_text)
    print("tokens read:", asked.usage.input_tokens if asked.usage else "unknown")


if __name__ == "__main__":
    main(*sys.argv[1:])
