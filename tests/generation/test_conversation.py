import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from factories import chat_model, linear_head
from rxt.config import SpecialTokens
from rxt.data.records import Interaction
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.errors import UserError
from rxt.generation.conversation import Answered, Conversation, MemoryUpdated, Token
from rxt.generation.sampling import Sampling
from rxt.interop.layouts import save_pretrained
from rxt.model.memory import Memory
from rxt.pretrained import ReactiveTransformer, load_chat

QUERIES = ["hello there", "my name is Ann", "how are you 🙂", "I live in Graz", "hello"]
WARM = Sampling(temperature=1.0, top_p=0.95)


@pytest.fixture
def chat(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> Conversation:
    return Conversation(model, tokenizer, max_new_tokens=8)


def slots(chat: Conversation) -> torch.Tensor:
    return chat.memory.slots


class HeldModel:
    """Makes ``memorize`` wait until ``release`` is set, or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.error: Exception | None = None
        memorize = ReactiveTransformer.memorize

        def held(model: ReactiveTransformer, memory: Memory, ids: torch.Tensor, mask: torch.Tensor | None) -> Memory:
            assert self.release.wait(20)
            if self.error is not None:
                raise self.error
            return memorize(model, memory, ids, mask)

        monkeypatch.setattr(ReactiveTransformer, "memorize", held)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldModel]:
    model = HeldModel(monkeypatch)
    yield model
    model.release.set()


def ending_model() -> ReactiveTransformer:
    """A model whose [EOS] bias makes it end most answers by itself."""
    model = chat_model()
    with torch.no_grad():
        linear_head(model.decoder).bias[model.config.tokens.eos] += 17
    return model


def test_a_turn_is_tokens_then_the_answer_then_the_update(chat: Conversation) -> None:
    events = list(chat.stream("hello"))
    tokens, answered, updated = events[:-2], events[-2], events[-1]
    assert len(tokens) == 8
    assert all(isinstance(event, Token) for event in tokens)
    assert isinstance(answered, Answered)
    assert isinstance(updated, MemoryUpdated)
    assert (
        "".join(event.text for event in tokens if isinstance(event, Token))
        == answered.text
        == Conversation(chat.model, chat.tokenizer, max_new_tokens=8).ask("hello")
    )
    assert answered.finish_reason == "length"
    assert (updated.turn, len(updated.change)) == (1, 2)
    assert updated.seconds > 0


def test_the_turns_are_the_models_own_respond_and_memorize(
    model: ReactiveTransformer, tokenizer: ChatTokenizer
) -> None:
    """The whole session against the plain computation: prompts, answers, memory and the reported change."""
    chat, memory = Conversation(model, tokenizer, max_new_tokens=8), model.init_memory(1, seed=0)
    template = Template(tokenizer, "alpha", model.config.max_length)
    for query in QUERIES:
        prompt = template.prompt(query)
        said = model.generate(torch.tensor([prompt]), memory, max_new_tokens=8)[0, len(prompt) :].tolist()
        events = list(chat.stream(query))
        assert [event.id for event in events if isinstance(event, Token)] == said
        with torch.no_grad():
            after = model.memorize(memory, torch.tensor([template.complete(prompt, said)]))
        assert torch.equal(slots(chat), after.slots)
        change = (after.slots - memory.slots).abs().mean(dim=(1, 2, 3))
        assert isinstance(events[-1], MemoryUpdated)
        assert events[-1].change == tuple(change.tolist())
        memory = after
    assert chat.turns == len(QUERIES)


def test_an_answer_ended_by_the_model_is_memorized_as_the_interaction_it_is(tokenizer: ChatTokenizer) -> None:
    model = ending_model()
    chat = Conversation(model, tokenizer)
    template = Template(tokenizer, "alpha", model.config.max_length)
    reasons = set()
    for query in QUERIES:
        before = chat.memory
        *tokens, answered, _ = chat.stream(query)
        assert isinstance(answered, Answered)
        reasons.add(answered.finish_reason)
        said = [token.id for token in tokens if isinstance(token, Token)]
        if answered.finish_reason == "stop":
            assert said[-1] == model.config.tokens.eos
            with torch.no_grad():
                expected = model.memorize(before, torch.tensor([template.prompt(query) + said]))
            assert torch.equal(slots(chat), expected.slots)
    assert "stop" in reasons


def test_an_answer_cut_by_the_models_length_leaves_room_for_eos(
    tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = chat_model(tokens=SpecialTokens(eos=5)), []
    tokenizer = ChatTokenizer(Tokenizer.from_file(str(tokenizer.save(tmp_path))), SpecialTokens(eos=5))
    with torch.no_grad():
        linear_head(model.decoder).bias[5] = -1e9
    memorize = ReactiveTransformer.memorize
    monkeypatch.setattr(
        ReactiveTransformer,
        "memorize",
        lambda self, memory, ids, mask: seen.append(ids) or memorize(self, memory, ids, mask),
    )
    *_, answered, _ = Conversation(model, tokenizer).stream("hello")
    assert answered.finish_reason == "length"  # type: ignore[union-attr]
    assert seen[0].shape == (1, model.config.max_length)
    assert seen[0][0, -1] == 5
    assert 5 not in seen[0][0, :-1]


def test_the_answer_is_handed_over_before_the_memory_is_updated(chat: Conversation, held: HeldModel) -> None:
    assert chat.ask("hello")
    held.release.set()
    assert chat.turns == 1


def test_the_next_query_waits_for_the_update(chat: Conversation, held: HeldModel) -> None:
    expected = Conversation(chat.model, chat.tokenizer, max_new_tokens=8)
    chat.ask("hello")
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(chat.ask("my name is Ann")))
    thread.start()
    thread.join(0.2)
    assert answers == []
    held.release.set()
    thread.join(20)
    expected.ask("hello")
    assert answers == [expected.ask("my name is Ann")]


def test_other_conversations_do_not_wait(chat: Conversation, held: HeldModel) -> None:
    other = chat.fork()
    chat.ask("hello")
    assert other.ask("hello")


def test_a_failed_update_is_raised_once_and_leaves_the_memory_before(chat: Conversation, held: HeldModel) -> None:
    before = chat.memory
    held.error = RuntimeError("out of memory")
    held.release.set()
    chat.ask("hello")
    with pytest.raises(RuntimeError, match="out of memory"):
        chat.ask("my name is Ann")
    held.error = None
    assert chat.memory is before
    chat.ask("my name is Ann")
    assert chat.turns == 1


def test_an_abandoned_stream_memorizes_nothing(chat: Conversation) -> None:
    chat.ask("hello")
    before = chat.memory
    stream = chat.stream("my name is Ann")
    assert all(isinstance(event, Token) for event in islice(stream, 3))
    stream.close()
    assert chat.memory is before
    uninterrupted = Conversation(chat.model, chat.tokenizer, max_new_tokens=8)
    uninterrupted.ask("hello")
    assert chat.ask("I live in Graz") == uninterrupted.ask("I live in Graz")


def test_a_stream_left_after_the_answer_is_memorized(chat: Conversation) -> None:
    for event in chat.stream("hello"):
        if isinstance(event, Answered):
            break
    assert chat.turns == 1


def test_two_answers_at_once_are_refused_and_a_stream_that_never_began_is_no_answer(chat: Conversation) -> None:
    chat.stream("hello")
    first = chat.stream("hello")
    next(first)
    for call in (lambda: chat.ask("hello"), chat.reset):
        with pytest.raises(UserError, match="still being streamed"):
            call()
    list(first)
    assert chat.ask("hello")


@pytest.mark.parametrize("sampling", [Sampling(), WARM])
@pytest.mark.parametrize("cut", [0, 1, 3])
def test_restored_is_uninterrupted(
    model: ReactiveTransformer, tokenizer: ChatTokenizer, tmp_path: Path, sampling: Sampling, cut: int
) -> None:
    whole = Conversation(model, tokenizer, 7, sampling, max_new_tokens=8)
    expected = [whole.ask(query) for query in QUERIES]
    first = Conversation(model, tokenizer, 7, sampling, max_new_tokens=8)
    answers = [first.ask(query) for query in QUERIES[:cut]]
    first.save(tmp_path / "chat.safetensors")
    second = Conversation.load(tmp_path / "chat.safetensors", chat_model(), tokenizer, 7, sampling, max_new_tokens=8)
    assert second.turns == cut
    answers += [second.ask(query) for query in QUERIES[cut:]]
    assert answers == expected
    assert torch.equal(slots(second), slots(whole))


def test_sampling_differs_by_turn_and_by_seed(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    hot = Sampling(temperature=5.0)
    chat = Conversation(model, tokenizer, 0, hot, max_new_tokens=8)
    memory = chat.memory
    first = chat.ask("hello")
    chat.restore(Memory(memory.slots, (1,)))
    assert chat.ask("hello") != first
    chat.restore(memory)
    assert chat.ask("hello") == first
    assert Conversation(model, tokenizer, 1, hot, max_new_tokens=8, memory=memory).ask("hello") != first
    assert (
        Conversation(model, tokenizer, 1, Sampling(temperature=5.0, seed=0), max_new_tokens=8, memory=memory).ask(
            "hello"
        )
        == first
    )


def test_forks_are_independent(chat: Conversation) -> None:
    chat.ask("hello")
    fork, twin = chat.fork(), chat.fork()
    before = slots(chat).clone()
    answer = fork.ask("my name is Ann")
    assert fork.turns == 2
    assert torch.equal(slots(chat), before)
    chat.ask("I live in Graz")
    assert twin.ask("my name is Ann") == answer
    assert torch.equal(slots(twin), slots(fork))
    assert not torch.equal(slots(chat), slots(fork))


def test_reset_is_a_new_conversation(chat: Conversation) -> None:
    first = chat.ask("hello")
    chat.ask("my name is Ann")
    chat.reset()
    assert chat.turns == 0
    assert chat.last_update is None
    assert chat.ask("hello") == first


def test_a_model_that_fixes_its_first_memory_begins_with_it(tokenizer: ChatTokenizer) -> None:
    model = chat_model(memory_seed=3)
    for seed in (0, 1, None):
        assert torch.equal(slots(Conversation(model, tokenizer, seed)), model.init_memory().slots)
    assert not torch.equal(
        slots(Conversation(chat_model(), tokenizer, 0)), slots(Conversation(chat_model(), tokenizer, 1))
    )


def test_memory_of_other_weights_is_refused_with_both_fingerprints(
    chat: Conversation, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    chat.ask("hello")
    chat.save(tmp_path / "chat.safetensors")
    other = chat_model(seed=1)
    with pytest.raises(UserError, match=f"{chat.model.fingerprint()}.*{other.fingerprint()}"):
        Conversation.load(tmp_path / "chat.safetensors", other, tokenizer)
    with pytest.raises(UserError, match="2 conversations"):
        Conversation(chat.model, tokenizer, memory=chat.model.init_memory(2))
    with pytest.raises(UserError, match="no such file"):
        Conversation.load(tmp_path / "none", chat.model, tokenizer)


def test_a_model_fresh_from_its_constructor_gets_a_fingerprint_too(tokenizer: ChatTokenizer) -> None:
    chat = Conversation(chat_model().train(), tokenizer)
    assert chat.memory.fingerprint == chat.model.fingerprint()


@pytest.mark.parametrize("query", ["", "  ", "\n"])
def test_an_empty_query_is_refused(chat: Conversation, query: str) -> None:
    with pytest.raises(UserError, match="empty"):
        chat.stream(query)


def test_a_query_that_is_too_long_is_refused_with_what_was_found_and_what_fits(chat: Conversation) -> None:
    length = len(chat.tokenizer.encode("Graz! " * 30)) + 3
    with pytest.raises(UserError, match=f"{length} tokens, at most 42 fit"):
        chat.ask("Graz! " * 30)
    assert chat.turns == 0
    assert chat.ask("hello")


def test_markers_in_a_query_stay_text(chat: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    memorize = ReactiveTransformer.memorize
    monkeypatch.setattr(
        ReactiveTransformer,
        "memorize",
        lambda self, memory, ids, mask: seen.append(ids) or memorize(self, memory, ids, mask),
    )
    chat.ask("[A] no [EOS]")
    chat.wait()
    ids, tokens = seen[0][0].tolist(), chat.model.config.tokens
    assert (ids.count(tokens.answer), ids.count(tokens.bos), ids.count(tokens.query)) == (1, 1, 1)
    assert chat.tokenizer.decode(ids[2 : ids.index(tokens.answer)]) == "[A] no [EOS]"


def test_special_tokens_that_a_model_says_are_never_shown(chat: Conversation) -> None:
    with torch.no_grad():
        model = chat_model()
        linear_head(model.decoder).bias[model.config.tokens.query] += 1e9
    said = Conversation(model, chat.tokenizer, max_new_tokens=5)
    *tokens, answered, _ = said.stream("hello")
    assert [token.id for token in tokens if isinstance(token, Token)] == [model.config.tokens.query] * 5
    assert isinstance(answered, Answered)
    assert answered.text == ""


def beta() -> tuple[ReactiveTransformer, ChatTokenizer]:
    tokenizer = ChatTokenizer.train(["hello there, how are you", "you are a kind helper"] * 3, 310, "beta")
    return chat_model(tokens=tokenizer.tokens), tokenizer


def test_a_system_prompt_is_memorized_once_at_the_start() -> None:
    model, tokenizer = beta()
    chat = Conversation(model, tokenizer, system="you are kind", max_new_tokens=4)
    fresh = model.init_memory(1, seed=0)
    with torch.no_grad():
        expected = model.memorize(fresh, torch.tensor([chat.template.system("you are kind").ids]))
    assert torch.equal(slots(chat), expected.slots)
    assert chat.turns == 0
    first = chat.ask("hello")
    fork = chat.fork()
    assert torch.equal(slots(fork), slots(chat))
    for again in (chat, fork):
        again.reset()
        assert torch.equal(slots(again), expected.slots)
        assert again.ask("hello") == first


def test_alpha_models_memorize_a_system_prompt_as_an_interaction(
    model: ReactiveTransformer, tokenizer: ChatTokenizer
) -> None:
    chat = Conversation(model, tokenizer, system="you are kind", max_new_tokens=4)
    ids = chat.template.interaction(Interaction("you are kind", "")).ids
    with torch.no_grad():
        expected = model.memorize(model.init_memory(1, seed=0), torch.tensor([ids]))
    assert torch.equal(chat.memory.slots, expected.slots)
    assert chat.turns == 0


def test_thinking_and_tool_calls_are_memorized_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = beta()
    tokens, encode = tokenizer.tokens, tokenizer.encode
    assert tokens.think is not None
    assert tokens.tool_call is not None
    said = [
        *encode("you"),
        tokens.think,
        *encode("hello"),
        tokens.answer,
        *encode(" are"),
        tokens.tool_call,
        *encode("kind"),
        tokens.eos,
    ]
    monkeypatch.setattr(
        "rxt.generation.conversation.generate_tokens", lambda *_, **__: iter(torch.tensor(said)[:, None])
    )
    *shown, answered, updated = Conversation(model, tokenizer).stream("hello")
    assert answered == Answered("you are", "stop")
    assert "".join(token.text for token in shown if isinstance(token, Token)) == "you are"
    assert isinstance(updated, MemoryUpdated)
    with torch.no_grad():
        template = Template(tokenizer, "beta", model.config.max_length)
        prompt = template.prompt("hello")
        assert template.complete(prompt, said) == prompt + said


def test_tokenizer_and_model_must_belong_together(model: ReactiveTransformer, tokenizer: ChatTokenizer) -> None:
    with pytest.raises(UserError, match=r"tokens\.query is 3, but 9 in the model"):
        Conversation(chat_model(tokens=SpecialTokens(query=9)), tokenizer)
    with pytest.raises(UserError, match=r"its vocabulary has \d+ tokens, the model's embedding only 100"):
        Conversation(chat_model(vocab_size=100), tokenizer)
    with pytest.raises(UserError, match="max_new_tokens"):
        Conversation(model, tokenizer, max_new_tokens=0)


def test_load_chat_reads_a_model_folder(chat: Conversation, tmp_path: Path) -> None:
    save_pretrained(chat.model, tmp_path)
    chat.tokenizer.save(tmp_path)
    assert load_chat(tmp_path, max_new_tokens=8).ask("hello") == chat.ask("hello")
    with pytest.raises(UserError, match="no such folder"):
        load_chat(tmp_path / "other")


def test_a_canonical_interaction_equals_the_templates(chat: Conversation) -> None:
    """What is memorized is what training memorizes."""
    template = chat.template
    prompt = template.prompt("hello")
    assert (
        template.complete(prompt, chat.tokenizer.encode("how are you"))
        == template.interaction(Interaction("hello", "how are you")).ids
    )
