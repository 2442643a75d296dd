"""The data of a run: every batch is a function of (split, step), so a resumed run needs no position to be restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Generic, Protocol, TypeVar

from rxt.data.fitting import Lengths
from rxt.data.markup import Encoded
from rxt.data.prepared.folder import PreparedFolder
from rxt.data.records import Conversation, Interaction
from rxt.data.template import Template
from rxt.errors import UserError
from rxt.tasks.base import PIECE_TURNS, TEXT_TURNS, Source, Told
from rxt.tasks.base import TrainingSplit as Split
from rxt.training.data_config import DataConfig, FileSource, PreparedSource, SourceConfig, TaskSource
from rxt.training.file_sources import FileConversations, FileInteractions, FileTexts
from rxt.training.prepared_sources import PreparedConversations, PreparedTexts

S = TypeVar("S")
T = TypeVar("T")
GOLDEN_RATIO = (5**0.5 - 1) / 2


class Interactions(Protocol):
    """Whatever has single interactions."""

    def interactions(self, split: Split, step: int, size: int) -> list[Interaction]: ...
    def encoded_interactions(self, template: Template, split: Split, step: int, size: int) -> list[Encoded]: ...
    def told(self) -> list[str]: ...
    def check(self) -> list[str]: ...
    def digests(self) -> dict[str, str]: ...
    def lengths(self, template: Template) -> Lengths: ...
    def all_conversations(self, generated: int) -> Iterator[Conversation]: ...


class Texts(Protocol):
    """Whatever has rows of text."""

    def text(self, template: Template, split: Split, step: int, size: int) -> list[Encoded]: ...
    def told(self) -> list[str]: ...
    def check(self) -> list[str]: ...
    def digests(self) -> dict[str, str]: ...
    def all_texts(self, generated: int) -> Iterator[str]: ...


@dataclass(frozen=True)
class Mixture(Generic[S]):
    """Sources that share every batch by their weights."""

    parts: tuple[tuple[float, S], ...] = ()

    @classmethod
    def of(
        cls,
        configs: Sequence[SourceConfig],
        from_files: Callable[[FileSource], S],
        from_prepared: Callable[[PreparedSource], S],
        from_task: Callable[[TaskSource], S],
    ) -> Mixture[S]:
        """Open every source."""

        def opened(config: SourceConfig) -> S:
            match config:
                case TaskSource():
                    return from_task(config)
                case PreparedSource():
                    return from_prepared(config)
                case FileSource():
                    return from_files(config)

        return cls(tuple((config.weight, opened(config)) for config in configs))

    def __iter__(self) -> Iterator[S]:
        return (source for _, source in self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def divide(self, size: int, step: int) -> list[tuple[S, int]]:
        """How many of ``size`` come from each source, those that give none left out; together they are ``size``.

        Rounding goes up in some steps and down in others (by the golden ratio, evenly), so that over many steps every
        source gives its share, also where that is less than one of a batch.
        """
        total = sum(weight for weight, _ in self.parts)
        rounding = (0.5 + step * GOLDEN_RATIO) % 1
        parts = accumulate((weight for weight, _ in self.parts), initial=0.0)
        bounds = [int(size * part / total + rounding + 1e-9) for part in parts]
        counts = [end - start for start, end in pairwise(bounds)]
        return [(source, count) for (_, source), count in zip(self.parts, counts, strict=True) if count]


@dataclass(frozen=True)
class Corpus:
    """Conversations, interactions and text, each a mixture of sources. An empty one falls back on conversations."""

    told: Mixture[Source]
    seed: int
    single: Mixture[Interactions] = Mixture()
    written: Mixture[Texts] = Mixture()

    @classmethod
    def load(cls, config: DataConfig, seed: int) -> Corpus:
        """Open every source of a run."""

        def of_task(source: TaskSource) -> Source:
            return source.task.source(seed)

        def text_of_task(source: TaskSource) -> Texts:
            return ConversationText(of_task(source))

        bad, long = config.on_bad, config.long
        return cls(
            Mixture.of(
                config.conversations,
                lambda each: FileConversations.load(each, bad, seed, long),
                lambda each: PreparedConversations.load(each, seed, long=long),
                of_task,
            ),
            seed,
            Mixture.of(
                config.interactions,
                lambda each: FileInteractions.load(each, bad, seed, long),
                lambda each: PreparedConversations.load(each, seed, "interactions", long),
                of_task,
            ),
            Mixture.of(
                config.text,
                lambda each: FileTexts.load(each, bad, seed),
                lambda each: PreparedTexts.load(each, seed),
                text_of_task,
            ),
        )

    def conversations(
        self, split: Split, step: int, size: int, turns: int, paraphrase_rate: float | None = None
    ) -> list[Conversation]:
        """``size`` conversations of at most ``turns`` turns for a step; ``paraphrase_rate`` stands in for the
        sources' own."""
        return [
            each.conversation
            for source, count in self.told.divide(size, step)
            for each in _rephrased(source, paraphrase_rate).conversations(split, step, count, turns)
        ]

    def encoded(
        self,
        template: Template,
        split: Split,
        step: int,
        size: int,
        turns: int,
        paraphrase_rate: float | None = None,
    ) -> list[list[Encoded]]:
        """The same conversations as tokens, turn by turn; long interactions of files may make them a few more."""
        return _some(
            [
                each
                for source, count in self.told.divide(size, step)
                for each in _rephrased(source, paraphrase_rate).encoded(template, split, step, count, turns)
            ],
            template,
        )

    def questioned(self, split: Split, step: int, size: int, turns: int, long_range: bool) -> list[Told]:
        """``size`` conversations of two turns at least, with what is known of their questions.

        Args:
            long_range: the last turn returns to what the first one spoke of.
        """
        return [
            told
            for source, count in self.told.divide(size, step)
            for told in (
                source.long_range(split, step, count, turns)
                if long_range
                else source.conversations(split, step, count, turns, shortest=2)
            )
        ]

    def interactions(self, split: Split, step: int, size: int) -> list[Interaction]:
        """``size`` single interactions, or a few more, for a step."""
        return [
            each
            for source, count in self._divide_interactions(size, step)
            for each in source.interactions(split, step, count)
        ]

    def encoded_interactions(self, template: Template, split: Split, step: int, size: int) -> list[Encoded]:
        """The same interactions as tokens; long ones of files may make them a few more."""
        return _some(
            [
                each
                for source, count in self._divide_interactions(size, step)
                for each in source.encoded_interactions(template, split, step, count)
            ],
            template,
        )

    def _divide_interactions(self, size: int, step: int) -> Sequence[tuple[Interactions, int]]:
        if len(self.single):
            return self.single.divide(size, step)
        if len(self.told) == 1:
            return self.told.divide(size, step)
        pieces = self.told.divide(-(-size // PIECE_TURNS), step)
        # whole pieces, so that every source gives what it is to give
        return [(source, count * PIECE_TURNS) for source, count in pieces]

    def text(self, template: Template, split: Split, step: int, size: int) -> list[Encoded]:
        """``size`` texts for a step: packed rows of plain text, or whole conversations, the long ones in pieces."""
        if len(self.written):
            return [
                each
                for source, count in self.written.divide(size, step)
                for each in source.text(template, split, step, count)
            ]
        return encode_texts(template, self.conversations(split, step, size, TEXT_TURNS))

    def lengths(self, template: Template) -> Lengths:
        """How many interactions of the files are longer than the template takes.

        Raises:
            UserError: a conversation has a part that the template has not, such as a system prompt.
        """
        return sum((source.lengths(template) for source in (*self.told, *self.single)), Lengths())

    @property
    def prepared(self) -> list[PreparedFolder]:
        """The folders that are tokens already."""
        sources = [*self.told, *self.single, *self.written]
        return [
            folder
            for source in sources
            if isinstance(source, PreparedConversations | PreparedTexts)
            for folder in source.folders
        ]

    def read(self) -> list[str]:
        """How much was read, a line for each file or folder."""
        return [line for source in (*self.told, *self.single, *self.written) for line in source.told()]

    def warnings(self) -> list[str]:
        """What a person should know of the data before training on it, a line each."""
        return [line for source in (*self.told, *self.single, *self.written) for line in source.check()]

    def digests(self) -> dict[str, str]:
        """Of what was read, by file or folder."""
        every = (*self.told, *self.single, *self.written)
        return {name: digest for source in every for name, digest in source.digests().items()}

    def all_text(self, generated: int) -> Iterator[str]:
        """Every training text once, for the tokenizer; of sources without an end, ``generated`` conversations."""
        finite_first = sorted(self.told.parts, key=lambda part: part[1].endless)
        for weight, source in finite_first:
            for conversation in source.all_conversations(generated) if weight or not source.endless else ():
                yield from texts_of(conversation)
        for source in self.single:
            for conversation in source.all_conversations(generated):
                yield from texts_of(conversation)
        for source in self.written:
            yield from source.all_texts(generated)


@dataclass(frozen=True)
class ConversationText:
    """The conversations of a source as text."""

    source: Source

    def text(self, template: Template, split: Split, step: int, size: int) -> list[Encoded]:
        """``size`` whole conversations for a step, the long ones in pieces."""
        told = self.source.conversations(split, step, size, TEXT_TURNS)
        return encode_texts(template, [each.conversation for each in told])

    def all_texts(self, generated: int) -> Iterator[str]:
        """Every training text once."""
        for conversation in self.source.all_conversations(generated):
            yield from texts_of(conversation)

    def told(self) -> list[str]:
        """As the source's."""
        return self.source.told()

    def check(self) -> list[str]:
        """As the source's."""
        return self.source.check()

    def digests(self) -> dict[str, str]:
        """As the source's."""
        return self.source.digests()


def encode_texts(template: Template, conversations: Sequence[Conversation]) -> list[Encoded]:
    """Conversations as plain text, in pieces where they are longer than the template takes."""
    texts = ["\n".join(texts_of(conversation)) for conversation in conversations]
    return [piece for text in texts for piece in template.text(text)]


def texts_of(conversation: Conversation) -> Iterator[str]:
    """All that is said in a conversation, piece by piece."""
    if conversation.system:
        yield conversation.system
    for interaction in conversation.interactions:
        yield from (part for part in vars(interaction).values() if part)


def _some(found: list[T], template: Template) -> list[T]:
    """A batch that is not empty."""
    if not found:
        raise UserError(
            f"every interaction of a batch is longer than {template.max_length} tokens and left out; with --long split "
            "it becomes several turns"
        )
    return found


def _rephrased(source: Source, rate: float | None) -> Source:
    return source if rate is None else source.rephrased(rate)
