"""Frames that every relation shares: how a fact is told, asked for, answered, taken note of, and not known.

``{clause}`` is a clause of the relation, ``{thing}`` its noun, ``{said}`` its sentence in the model's words, ``{v}``
the value. The language is that of ``grammar``.
"""

from __future__ import annotations

TELL_BY_THING = (
    "{thing} is {v}",
    "{thing}: {v}",
    "{thing} = {v}",
    "{thing}? {v}",
    "it's {v}, {thing} I mean",
    "{v}, that's {thing}",
)
"""Clauses made of the noun."""

TELL = (
    *("{clause}",) * 6,
    "{clause} (btw|by the way|fyi|actually|you know|haha|lol|just so you know)",
    "(btw|by the way|fyi|so|ok so|oh|hey|well|right|also|guess what|just so you know)(,|) {clause}",
    "(remember|note|please (remember|note)|don't forget|keep in mind|for later|write this down|save this): {clause}",
    "(did I (mention|say|tell you)|have I told you)( that|) {clause}?",
    "(I (wanted|need) to tell you|I should (say|mention)|I forgot to say|you should know)( that|:|,) {clause}",
    "{clause}, (can|could|will) you remember that?",
    "{clause}, (please remember|don't forget|keep that in mind|remember that( for me|))",
)
"""Messages made of one clause; None ends in a stop of its own but a question."""

JOIN = (
    "{first}. {second}",
    "{first} and {second}",
    "{first}, and {second}",
    "{first}, {second}",
    "{first}; {second}",
    "{first}. (oh|also|and|plus)(,|) {second}",
    "{first}. {second}",
    "{first} - {second}",
)
"""Two clauses in one message."""

CHANGE_CLAUSE = (  # ``{now}`` is " now" where the clause does not say it
    "(actually|update|correction|change of plans|small change|sorry|wait|scratch that|oh|news)(,|) {clause}{now}",
    "(actually|update|correction|sorry|wait|scratch that|no wait|hang on)(,|:| -) {clause}",
    "(not {old} (any more|anymore)|no longer {old}|forget {old}|{old} was (wrong|yesterday)), {clause}",
    "{clause}{now}(, not {old}|)",
    "(I was wrong|I made a mistake|that was wrong|that's changed|things changed|that changed)(:|,) {clause}",
)
CHANGE = (
    *CHANGE_CLAUSE,
    "{thing} is {v} now(, not {old} (any more|anymore)|)",
    "{thing} (has changed|changed)( to|:) {v}",
    "{thing} is no longer {old}(, it's| but|:) {v}",
)
"""A fact that is different now."""

ASK_BY_THING = (
    "(what's|what is|whats|what was) {thing}( again|)",
    "{thing}",
    "(do you (remember|recall|know|still know)|can you (remember|recall)) {thing}",
    "(tell|remind) me( again|): {thing}",
    "remind me of {thing}( please|)",
    "{thing}( again|), please",
    "(can|could) you (tell me|remind me of) {thing}",
    "(quick|quick question|quick one|sorry|hey)(:|,) {thing}",
    "I('ve| have) forgotten {thing}",
    "what did I (say|tell you) about {thing}",
)
"""Questions made of the noun."""

ASK = (
    *("{question}",) * 6,
    "{question} again",
    "(so|ok|ok so|and|now|hey|btw|by the way|hm|hmm|wait|sorry|quick one|tell me)(,|) {question}",
    "(do you (remember|know|recall)|can you tell me|any idea|remind me)(:|,|) {question}",
    "{question}(, do you remember|, remind me| please|, any idea|, I forgot)",
)

ANSWER = (
    *("{v}",) * 5,
    *("{said}",) * 6,
    "{v}, (you said|you told me|as you said|I think you said|if I remember right)",
    "(you (said|told me)|I remember): {v}",
    "that's {v}",
    "(of course|sure|yes|I remember): {said}",
)

NOTED = (
    *("(got it|ok|okay|noted|nice|thanks|alright|right|I see|good to know|great|lovely|sure)(:|,) {said}",) * 4,
    "{v}, (got it|noted|nice|I'll remember that|lovely|okay|good to know|thanks for telling me|alright)",
    "{said}, (I'll remember that|noted|got it|okay|I won't forget)",
    "{said}",
    "(got it|noted|okay|alright)(:|,) {v}",
    "(I'll remember( that|):|thanks, I'll remember:) {said}",
)
"""Answers to a message that told something: they name what was understood."""

NOTED_SEVERAL = (
    "{first}, and {second}",
    "(got it|ok|okay|noted|nice|thanks)(:|,) {first}, and {second}",
    "(got it|ok|okay|noted|alright)(:|,) {first_v} and {second_v}",
    "{first_v} and {second_v}, (got it|noted|I'll remember)",
    "{first}. {second}",
)

CHANGED = (
    "(ok|okay|got it|alright|thanks|noted|right)(:|,) {v} now",
    "{v} now, (got it|noted|okay|I'll remember)",
    "(changed|updated|corrected)(:|,) {said} now",
    "(ok|okay|got it|alright|thanks for the update)(:|,) {said} now",
    "{v}, not {old}, (got it|noted|okay)",
)

UNKNOWN = (
    "you (haven't told me {thing}( yet|)|have not told me {thing}|never told me {thing})",
    "I don't know {thing}( yet|)",
    "you (haven't mentioned {thing}( yet|)|never mentioned {thing})",
    "(sorry|hm|no idea), (I don't know|you haven't told me|you haven't said|you never told me)( that|)( yet|)",
    "I don't think you('ve| have) told me {thing}, so I don't know",
    "I don't know, you haven't told me( that|)( yet|)",
)
"""Of what was never told. Each is an admission by ``rxt.data.asked.UNKNOWN``."""
