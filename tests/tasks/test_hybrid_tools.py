"""Tools that hybrid conversations make up or rename: what is told of them suffices, and each split has its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from rxt.data.encoding import encode_conversation
from rxt.data.template import Template
from rxt.data.tokenizer import ChatTokenizer
from rxt.tasks.hybrid import HybridConfig, details, naming
from rxt.tasks.hybrid import values as lists
from rxt.tasks.hybrid.made import Made, draw_topic
from rxt.tasks.hybrid.made_threads import made_thread
from rxt.tasks.hybrid.naming import nonsense, owner, styled
from rxt.tasks.hybrid.offered import BUILT_IN, Offered, draw_tools, made_up, new_tool, renamed
from rxt.tasks.hybrid.probes import asked_last, probe
from rxt.tasks.hybrid.spread import SPANS
from rxt.tasks.hybrid.talks import HybridConversation, generate
from rxt.tasks.hybrid.topics import KINDS
from rxt.tasks.hybrid.uses import HELD_OUT, USES
from rxt.tasks.hybrid.values import Draw, ValueSplit
from rxt.tools.tool import Tool, read_call
from rxt.training.corpus import texts_of
from rxt.training.recipes_hybrid import MIX, hybrid

CONFIG = HybridConfig()
SPLITS: tuple[ValueSplit, ...] = ("train", "validation", "test")


def draws(split: ValueSplit, count: int) -> Iterator[Draw]:
    for index in range(count):
        yield Draw(split, Random(index))


def made_tools(split: ValueSplit, count: int = 150) -> Iterator[tuple[Tool, Made]]:
    for draw in draws(split, count):
        found = made_up(draw, CONFIG.nonsense_rate)
        assert found.made is not None
        yield found.tool, found.made


def properties(tool: Tool) -> dict[str, dict[str, object]]:
    found = json.loads(tool.told)["parameters"]["properties"]
    assert isinstance(found, dict)
    return found


def wish_in(text: str) -> tuple[str, str] | None:
    """The thing and the wish that a description or a question names; None where it names no thing."""
    for kind in KINDS:
        for thing in kind.things:
            before, found, _ = text.lower().partition(f" {thing}")
            if found:
                names = [wish.words for wish in kind.wishes if wish.words[:-1] in before]
                return (thing, max(names, key=len)) if names else None
    return None


def test_schemas_are_right_and_lines_can_be_read() -> None:
    types: set[object] = set()
    for draw in draws("train", 80):
        for each in draw_tools(draw, CONFIG):
            checked = Tool(each.tool.name, each.tool.description, each.tool.parameters)
            told = json.loads(each.tool.told)
            assert told == {
                "name": checked.name,
                "description": checked.description,
                "parameters": json.loads(json.dumps(checked.parameters)),
            }
            types |= {schema.get("type") for schema in properties(each.tool).values()}
            assert 1 <= len(properties(each.tool)) <= 4 or each.tool.name == "clock"
    assert types >= {"string", "integer", "number", "boolean"}


def test_two_to_four_tools_are_offered_that_differ() -> None:
    counts = Counter[int]()
    for draw in draws("train", 300):
        offered = draw_tools(draw, CONFIG)
        counts[len(offered)] += 1
        assert len({each.tool.name for each in offered}) == len(offered)
        made = [(each.made.topic.thing, each.made.wish) for each in offered if each.made is not None]
        uses = [each.use for each in offered if each.use is not None]
        assert len(set(made)) == len(made)
        assert len(set(uses)) == len(uses), "no two that answer the same"
    assert set(counts) == {2, 3, 4}


def test_names_and_combinations_are_of_one_split() -> None:
    combinations: dict[str, set[tuple[str, str]]] = {split: set() for split in SPLITS}
    arguments: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        for tool, made in made_tools(split):
            assert owner("tool name", tool.name) == split
            combinations[split].add((made.topic.thing, made.wish.words))
            arguments[split] |= set(properties(tool))
    assert all(owner("argument name", name) == "train" for name in arguments["train"])
    for split, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not combinations[split] & combinations[other]
    for split in ("validation", "test"):
        owners = {owner("argument name", name) for name in arguments[split]}
        assert owners == {split, "train"}, "some names of arguments are for it alone"


def test_renamed_tools_have_a_name_of_their_split_and_say_what_a_meaningless_one_is_for() -> None:
    meaningless = 0
    for split in SPLITS:
        for draw in draws(split, 80):
            use = draw.one(USES)
            found = renamed(draw, use, 0.5)
            assert owner("tool name", found.tool.name) == split
            assert found.tool.name != use.names[0]
            for name, argument in zip(found.arguments, use.arguments, strict=True):
                schema = properties(found.tool)[name]
                words = name.replace("_", "").lower()
                if not any(phrase.replace(" ", "") in words for phrase in argument.names):
                    meaningless += 1
                    assert schema["description"] == argument.meaning
    assert meaningless > 30


@pytest.mark.parametrize(
    ("style", "name"),
    [("snake", "book_ice_rink"), ("camel", "bookIceRink"), ("pascal", "BookIceRink"), ("kebab", "book-ice-rink")],
)
def test_styles_write_one_name(style: naming.Style, name: str) -> None:
    assert styled(["book", "ice", "rink"], style) == name
    assert owner("tool name", name) == owner("tool name", "bookicerink")


def test_names_come_out_of_an_open_set() -> None:
    names = {tool.name for tool, _ in made_tools("train", 400)}
    assert len(names) > 350
    assert len({nonsense(Random(index)) for index in range(2_000)}) > 1_500


def test_questions_say_what_the_description_says_and_what_is_given_was_told() -> None:
    for split in SPLITS:
        for draw in draws(split, 60):
            found = made_up(draw, CONFIG.nonsense_rate)
            assert found.made is not None
            topic, wish = found.made.topic, found.made.wish
            try:
                thread = made_thread(draw, topic, [(found.tool, found.made)], missing=1)
            except lists.NothingLeft:
                continue
            (ask,) = [ask for ask in thread.asks if ask.calling is not None]
            assert wish_in(found.tool.description) == wish_in(ask.query) == (topic.thing, wish.words)
            assert ask.calling is not None
            assert read_call(ask.calling.text, [found.tool], "").error is None
            told = " ".join(telling.query for telling in thread.tellings[: ask.told + 1])
            for name, detail in found.made.arguments:
                value = ask.calling.arguments[name]
                said = told if detail in topic.told else ask.query
                assert isinstance(value, bool) or str(value) in said
            required = found.tool.parameters["required"]
            assert isinstance(required, list)
            assert set(required) <= set(ask.calling.arguments)
            for other in thread.asks:
                assert (other.kind, other.calling is None) in (("call", False), ("no_tool", True), ("recall", True))
                if other.kind == "no_tool":
                    assert wish_in(other.query) != (topic.thing, wish.words)


def test_things_are_spoken_of_by_made_up_tools_alone() -> None:
    known = {
        name.casefold()
        for names in (lists.OBJECTS, lists.THINGS, lists.EVENTS, lists.ROLES, lists.DISHES, lists.JOBS, lists.SECRETS)
        for name in names
    }
    things = [thing for kind in KINDS for thing in kind.things]
    assert len(set(things)) == len(things)
    assert not known & {*things, *(f"{thing}s" for thing in things)}
    for kind in KINDS:
        meanings = [detail.meaning for detail in (*kind.details, *kind.flags)]
        assert len(set(meanings)) == len(meanings)
        words = [name for detail in kind.details for name in detail.names]
        assert len(set(words)) == len(words), "a name that two arguments could have says nothing"
        assert all("{v}" in detail.told for detail in kind.details)
        assert all("|" in detail.told and "|" in detail.answer for detail in kind.flags)


def test_what_is_true_or_false_is_said_so() -> None:
    for flag in (flag for kind in KINDS for flag in kind.flags):
        for template in (flag.told, flag.answer, *filter(None, [flag.asked])):
            yes, no = (flag.text(template, value, "my boat") for value in (True, False))
            assert any(word in no.lower() for word in (" not ", " no ", "no,", "without")), no
            assert not any(word in yes.lower() for word in (" not ", " no ", "no,", "without")), yes


def told_tools(case: HybridConversation, turn: int) -> tuple[Tool, ...]:
    return case.tools if case.conversation.system else case.told_in.get(turn, ())


def test_where_no_tool_is_said_to_be_there_none_is() -> None:
    without, near, withheld = 0, 0, 0
    for index in range(200):
        case = generate("train", 20, 4, index, MIX)
        for question in case.questions:
            if question.kind != "no_tool":
                continue
            query = case.conversation.interactions[question.turn].query
            told, wanted = told_tools(case, question.turn), wish_in(query)
            without += not told
            for found in (wish_in(tool.description) for tool in told):
                near += found is not None and wanted is not None and found[0] == wanted[0]
                assert found is None or found != wanted
            offered = {tool.name for tool in case.tools} - {tool.name for tool in told}
            withheld += bool(offered and told)
    assert min(without, near, withheld) > 5


def test_tools_are_told_where_none_is_needed() -> None:
    kinds = Counter[str]()
    for index in range(60):
        case = generate("train", 20, 4, index, replace(CONFIG, system_rate=0.0))
        asked = {question.turn: question.kind for question in case.questions}
        for turn, tools in case.told_in.items():
            interaction = case.conversation.interactions[turn]
            assert [tool.told for tool in tools] == (interaction.internal or "").splitlines()[2:]
            kinds["needless" if asked.get(turn, "idle") not in ("call", "result", "no_tool", "idle") else "other"] += 1
            kinds["idle"] += turn not in asked
    assert kinds["needless"] > 30
    assert kinds["idle"] > 5


def test_distances_are_asked_after_about_equally_often() -> None:
    spans: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for index in range(160):
        for question in generate("train", 28, 6, index, MIX).questions:
            if question.told_turn is not None and question.kind != "result":
                distance = question.turn - question.told_turn
                span = next(first for first, last in SPANS if distance <= last)
                spans[question.kind in ("call", "no_tool")][span] += 1
    for counts in spans.values():
        assert set(counts) == {first for first, _ in SPANS}
        assert min(counts.values()) > 0.15 * counts.total()
        assert max(counts.values()) < 0.35 * counts.total()


def test_new_tools_have_names_that_training_never_shows() -> None:
    made, known = 0, 0
    usual = {*BUILT_IN, *(use.names[0] for use in USES)}
    for index in range(60):
        for split in ("validation", "test"):
            calling = asked_last(probe(split, 2, 1, index, CONFIG, "new_tool")).calling
            assert calling is not None
            if calling.tool.name in {use.names[0] for use in HELD_OUT}:
                assert split == "test"
            else:
                assert owner("tool name", calling.tool.name) == split
                assert calling.tool.name not in usual
            is_known = calling.tool.description in {use.description for use in (*USES, *HELD_OUT)}
            known, made = known + is_known, made + (not is_known)
    assert min(made, known) > 20


def test_a_new_tool_is_drawn_by_its_number_alone() -> None:
    first, second = (new_tool(Draw("test", Random(3)), CONFIG) for _ in range(2))
    assert isinstance(first, Offered)
    assert first.tool == second.tool
    topic = draw_topic(Draw("train", Random(5)))
    assert topic == draw_topic(Draw("train", Random(5)))
    assert topic.told


def test_interactions_fit_the_recipes_model() -> None:
    run = hybrid()
    texts = [text for index in range(120) for text in texts_of(generate("train", 12, 0, index, MIX).conversation)]
    tokenizer = ChatTokenizer.train(texts, run.tokenizer.vocab_size, "beta")
    template = Template(tokenizer, "beta", 4_096)
    longest = run.model.decoder.max_length
    for split in SPLITS:
        for index in range(50):
            conversation = generate(split, 14, 8, index, MIX).conversation
            if conversation.system is not None:
                assert len(template.system(conversation.system).ids) <= longest
            assert all(len(each.ids) <= longest for each in encode_conversation(conversation, template))


def test_numbers_are_told_as_json_writes_them() -> None:
    for value in (*details.DECIMALS, *details.PRICES):
        assert json.dumps(value) == str(value)
        assert not value.is_integer(), "a whole one could be told and given in two ways"
