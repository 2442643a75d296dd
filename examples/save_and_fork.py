"""A conversation is a value: save it, restore it, fork it. ``python examples/save_and_fork.py [FILE]``."""

import sys

import rxt


def main(file: str = "rex.memory") -> None:
    chat = rxt.load_chat()
    chat.ask("My dog is called Rex.")
    chat.save(file)

    fork = chat.fork()  # from here on, neither knows of the other
    fork.ask("I live in Paris.")
    print("original:", chat.ask("Where do I live?"))
    print("fork:    ", fork.ask("Where do I live?"))

    restored = rxt.Conversation.load(file, chat.model, chat.tokenizer)
    print("restored:", restored.ask("What is my dog called?"))


if __name__ == "__main__":
    main(*sys.argv[1:])
