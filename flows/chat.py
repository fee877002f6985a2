"""A conversation with a model in the terminal."""

import json
from pathlib import Path

from model_code.chat import stream

PROMPT = "> "


def answer_once(model: Path, message: str, as_json: bool) -> int:
    """Answer one question on standard output."""
    pieces = stream(model, [{"role": "user", "content": message}])
    if as_json:
        print(json.dumps({"question": message, "answer": "".join(pieces)}))
        return 0
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
    return 0


def chat_loop(model: Path) -> int:
    """Answer question after question until the end of input; each stands for itself."""
    print("Ask about a sum or about the small world; end with Ctrl-D.")
    while True:
        try:
            message = input(PROMPT).strip()
        except EOFError:
            print()
            return 0
        if message:
            answer_once(model, message, as_json=False)
