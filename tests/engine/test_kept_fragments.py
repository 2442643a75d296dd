"""Memories at hand: as many as fit, and what several share counts once."""

from __future__ import annotations

from factories import pooled_model
from rxt.engine.kept import KeptMemories
from rxt.generation.ready import Ready, fresh
from rxt.generation.turn import Prepared


def turns(count: int) -> list[Ready]:
    model = pooled_model()
    found = [fresh(model, seed=0)]
    for number in range(count):
        found.append(found[-1].for_query(model, [1, 3, 20 + number]).after(model, [1, 3, 20 + number, 2]))
    return found


def test_fragments_that_pools_share_count_once() -> None:
    made = turns(12)
    last = made[-1]
    kept = KeptMemories(1 << 40)
    for index, each in enumerate(made):
        kept.hold(str(index), each)
    assert kept.nbytes < 0.8 * sum(each.nbytes for each in made)
    kept.hold("12", last)
    for index in range(12):
        kept.forget(str(index))
    assert kept.nbytes == last.nbytes
    kept.forget("12")
    kept.forget("12")
    assert kept.nbytes == 0


def test_those_that_were_used_last_stay() -> None:
    model = pooled_model()
    memories = [Prepared.fresh(model, seed=index) for index in range(4)]
    kept = KeptMemories(3 * memories[0].nbytes)
    for index in range(3):
        kept.hold(str(index), memories[index])
    assert kept.get("0") is memories[0]
    kept.hold("3", memories[3])
    assert [str(index) in kept for index in range(4)] == [True, False, True, True]
    assert kept.get("1") is None
    small = KeptMemories(1)
    small.hold("0", memories[0])
    assert small.get("0") is memories[0], "the newest stays"
