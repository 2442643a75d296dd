"""A pre-trained model's own chat template: what it writes around messages, found by writing some.

The template is a program (Jinja), as ``transformers`` runs it. A conversation of made-up words is written with it, and
what stands between the words are the markers. Other words are written then, and must come out the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from rxt.config import Marker, Markers
from rxt.errors import UserError

PLAIN = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] + '\\n\\n' }}"
    "{% elif m['role'] == 'user' %}{{ 'User: ' + m['content'] }}"
    "{% else %}{{ '\\nAssistant: ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\nAssistant:' }}{% endif %}"
)
"""For a model that came without one."""

WORDS = (("Zorvex", "Miltap", "Dunrek", "Wibsol"), ("is 7 of 9", "yes, 30!", "And then?", "You, kind one."))
"""Two queries' and answers' texts: the first are looked for, the second are the proof."""


@dataclass(frozen=True)
class ChatTemplate:
    """A template as text, and the texts of the tokens that it may write."""

    source: str
    """Where it came from, for messages."""
    text: str = PLAIN
    bos: str = ""
    eos: str = ""

    def write(self, messages: Sequence[tuple[str, str]], ask: bool = False) -> str:
        """Messages, each a role and its text, as one text; ``ask``: up to where an answer begins."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
        spoken = [{"role": role, "content": text} for role, text in messages]
        try:
            return environment.from_string(self.text).render(
                messages=spoken,
                tools=None,
                documents=None,
                add_generation_prompt=ask,
                bos_token=self.bos,
                eos_token=self.eos,
            )
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise UserError(
                f"{self.source}: its chat template cannot be run ({' '.join(str(error).split())[:120]})"
            ) from None

    def between(self, messages: Sequence[tuple[str, str]], ask: bool = False) -> list[str]:
        """What is written before, between and after the texts of messages.

        Raises:
            UserError: the template changes, repeats, leaves out or reorders them.
        """
        rest, found = self.write(messages, ask), list[str]()
        for role, text in messages:
            before, there, rest = rest.partition(text)
            if not there or text in rest:
                self.refuse(f"does not write each message once and in order (here the {role}'s)")
            found.append(before)
        return [*found, rest]

    def refuse(self, problem: str) -> NoReturn:
        """Say in one line why this template cannot be used."""
        raise UserError(f"{self.source}: its chat template {problem}, which is not supported")


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def find_markers(template: ChatTemplate, whole: Tokenizer, plain: Tokenizer) -> Markers:
    """The markers of a chat template as token ids, the last of ``end`` the special token that ends an answer.

    Args:
        whole: tokenizes what a template writes, special tokens included.
        plain: tokenizes the text of a part, none of them special, and puts nothing before it.

    Raises:
        UserError: the template cannot be run, or does not write every turn alike.
    """
    first, answer, second = ("user", WORDS[0][0]), ("assistant", WORDS[0][1]), ("user", WORDS[0][2])
    before, middle, turn, asked = template.between([first, answer, second], ask=True)
    if not middle.startswith(asked) or middle[len(asked) :].strip():
        template.refuse("begins an answer in another way than it asks for one")
    end, query = _end_and_query(template, turn, whole)
    if not before.endswith(query):
        template.refuse("marks the first message in another way than later ones")
    begin = template.bos if before.startswith(template.bos) and not query.startswith(template.bos) else ""

    def interaction(texts: Sequence[str]) -> list[int]:
        return _ids(whole, begin + query + texts[0] + middle + texts[1] + end)

    parts, spaces = _apart(template, interaction(WORDS[0]), WORDS[0][:2], plain)
    opening = len(_ids(whole, begin))
    system, system_end = _system(template, query, whole, plain)
    markers = Markers(
        parts[0][:opening],
        Marker(parts[0][opening:], spaces[0]),
        Marker(parts[1], spaces[1]),
        parts[2],
        system,
        system_end,
    )
    said = [
        plain.encode(" " * space + text, add_special_tokens=False).ids
        for text, space in zip(WORDS[1], spaces, strict=False)
    ]
    if [*parts[0], *said[0], *parts[1], *said[1], *parts[2]] != interaction(WORDS[1]):
        template.refuse("shares tokens between markers and messages")
    return markers


def _end_and_query(template: ChatTemplate, turn: str, whole: Tokenizer) -> tuple[str, str]:
    """What ends an answer, and what stands before the next query; the white space between them is nobody's."""
    special = {each.content for each in whole.get_added_tokens_decoder().values() if each.special}
    places = [(turn.index(content), -len(content), content) for content in special if content and content in turn]
    if not places:
        template.refuse("ends an answer with no special token")
    at, _, content = min(places)
    if turn[:at].strip():
        template.refuse("ends an answer with more than a special token")
    after = at + len(content)
    return turn[:after], turn[after:].lstrip()


def _system(
    template: ChatTemplate, query: str, whole: Tokenizer, plain: Tokenizer
) -> tuple[Marker | None, tuple[int, ...]]:
    """The marker of a system prompt and what follows one, up to the marker of the first query if that stands alone."""
    messages = [("system", WORDS[0][3]), ("user", WORDS[0][0])]
    try:
        before, middle, _ = template.between(messages)
    except UserError:
        return None, ()  # as templates say that take none
    after = middle.removesuffix(query)
    ids = _ids(whole, before + WORDS[0][3] + after)
    (marker, end), (space,) = _apart(template, ids, WORDS[0][3:], plain)
    return Marker(marker, space), end


def _ids(whole: Tokenizer, text: str) -> list[int]:
    return whole.encode(text, add_special_tokens=False).ids


def _apart(
    template: ChatTemplate, ids: list[int], texts: Sequence[str], plain: Tokenizer
) -> tuple[list[tuple[int, ...]], list[bool]]:
    """What stands before, between and after texts in ``ids``, and of each text whether a space came with it."""
    parts, spaces, at = list[tuple[int, ...]](), list[bool](), 0
    for text in texts:
        places = [
            (start, start + len(found), space)
            for space in (True, False)
            for found in [plain.encode(" " * space + text, add_special_tokens=False).ids]
            for start in range(at, len(ids) - len(found) + 1)
            if ids[start : start + len(found)] == found
        ]
        if not places:
            template.refuse("shares tokens between markers and messages")
        start, after, space = places[0]
        parts.append(tuple(ids[at:start]))
        spaces.append(space)
        at = after
    return [*parts, tuple(ids[at:])], spaces
