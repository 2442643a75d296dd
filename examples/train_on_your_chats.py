"""Train a tiny model on your own chats, and talk to it: ``python examples/train_on_your_chats.py [FOLDER]``.

The smoke recipe runs stages 0 to 4, here with so few updates that the model learns next to nothing: it shows what goes
where. ``rxt train pocket --data chats.jsonl --out runs/mine`` trains in earnest.
"""

import json
import sys
from pathlib import Path

import rxt
from rxt.cli.main import main as rxt_command

FEW_UPDATES = {
    "joint.steps": 4,
    "interaction.steps": 4,
    "memory_pretrain.steps": 2,
    "memory_aware.phases": '[{"steps": 4, "turns": 2, "batch_size": 4}]',
    "tokenizer.conversations": 50,
    "validation_batches": 1,
}


def main(folder: str = "runs/example") -> None:
    chats = Path(folder).with_suffix(".jsonl")
    chats.parent.mkdir(parents=True, exist_ok=True)
    with chats.open("w", encoding="utf-8") as file:
        for name in ("Anna", "Ben", "Carla", "David") * 10:
            told = {"query": f"My name is {name}.", "answer": f"Hello {name}!"}
            asked = {"query": "What is my name?", "answer": f"You are {name}."}
            file.write(json.dumps({"interactions": [told, asked]}) + "\n")

    options = [part for key, value in FEW_UPDATES.items() for part in ("--set", f"{key}={value}")]
    code = rxt_command(["train", "smoke", "--out", folder, "--data", str(chats), *options])
    if code:
        sys.exit(code)

    chat = rxt.load_chat(f"{folder}/model")
    print("after a few updates:", chat.ask("What is my name?"))


if __name__ == "__main__":
    main(*sys.argv[1:])
