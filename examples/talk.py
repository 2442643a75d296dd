"""Talk to the bundled model from Python: ``python examples/talk.py``."""

import rxt
from rxt.generation.conversation import Answered, MemoryUpdated, Token


def main() -> None:
    chat = rxt.load_chat()  # the bundled model; or a folder, or owner/name on the Hugging Face Hub
    for query in ("My dog is called Rex.", "Hello there!", "What is my dog called?"):
        print(f"> {query}")
        for event in chat.stream(query):
            match event:
                case Token():
                    print(event.text, end="", flush=True)
                case Answered():
                    print()
                case MemoryUpdated():  # after the answer: nobody waits for it
                    print(f"  (turn {event.turn} memorized in {1000 * event.seconds:.0f} ms)")


if __name__ == "__main__":
    main()
