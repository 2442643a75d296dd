"""When: days, dates, times, durations. As people write them, in many forms."""

from __future__ import annotations

from random import Random

from rxt.tasks.open.values.pick import forms, mixed, one, whole

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"),
    "December",
)
_SHORT = tuple(month[:3] if month != "September" else "Sept" for month in _MONTHS)
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def _day_name(rng: Random) -> str:
    return one(rng, _DAYS)


def month(rng: Random) -> str:
    return one(rng, _MONTHS)


day = mixed(
    (45, forms("on {day}", day=_day_name)),
    (25, forms("on {day} (morning|afternoon|evening|night)", day=_day_name)),
    (12, forms("next {day}", "this {day}", "this coming {day}", "a week on {day}", day=_day_name)),
    (
        12,
        forms(
            "tomorrow",
            "tomorrow (morning|afternoon|evening|night)",
            "tonight",
            "this (afternoon|evening)",
            "the day after tomorrow",
            "at the weekend",
            "at the end of the week",
            "next week",
            "in two weeks",
            "in ten days",
            "the week after next",
            "in three days",
        ),
    ),
)


def _nth(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def date(rng: Random) -> str:
    """ "14 March", "May 3rd", "the 9th of June", "21/4", "2 Oct 2026": no preposition."""
    at = int(rng.random() * 12)
    number = whole(rng, 1, _LENGTHS[at])
    name, short = _MONTHS[at], _SHORT[at]
    how = rng.random()
    if how < 0.25:
        text = f"{number} {name}"
    elif how < 0.45:
        text = f"{name} {_nth(number)}"
    elif how < 0.58:
        text = f"{name} {number}"
    elif how < 0.7:
        text = f"{_nth(number)} {one(rng, ('', 'of '))}{name}"
    elif how < 0.78:
        text = f"the {_nth(number)} of {name}"
    elif how < 0.88:
        text = one(
            rng, (f"{number} {short}", f"{short} {number}", f"{_nth(number)} {short}", f"{short} {_nth(number)}")
        )
    elif how < 0.94:
        return one(
            rng, (f"{number}/{at + 1}", f"{number:02}/{at + 1:02}", f"{number}.{at + 1}.", f"{number:02}.{at + 1:02}.")
        )
    elif how < 0.97:
        year_ = whole(rng, 1940, 2032)
        return one(
            rng,
            (
                f"{number}/{at + 1}/{year_ % 100:02}",
                f"{number:02}.{at + 1:02}.{year_}",
                f"{year_}-{at + 1:02}-{number:02}",
            ),
        )
    else:
        return f"{one(rng, _DAYS)} {one(rng, ('', 'the '))}{_nth(number)}" + one(rng, ("", f" of {name}", f" {name}"))
    if rng.random() < 0.15:
        text += (
            one(rng, (" ", ", ")) + str(whole(rng, 1935, 2032)) if text[-1].isdigit() else f" {whole(rng, 1935, 2032)}"
        )
    return text


def time(rng: Random) -> str:
    """ "14:30", "half past nine", "7.15pm": no preposition."""
    how = rng.random()
    minute = 5 * int(rng.random() * 12) if rng.random() < 0.75 else int(rng.random() * 60)
    hour = whole(rng, 6, 23) if rng.random() < 0.9 else whole(rng, 0, 5)
    twelve = (hour - 1) % 12 + 1
    half = "am" if hour < 12 else "pm"
    if how < 0.36:
        return f"{hour}:{minute:02}"
    if how < 0.42:
        return f"{hour:02}:{minute:02}"
    if how < 0.56:
        return f"{twelve}:{minute:02}{one(rng, ('', ' '))}{half}"
    if how < 0.62:
        return f"{twelve}.{minute:02}{half if rng.random() < 0.5 else ''}"
    if how < 0.74:
        return f"{twelve}{one(rng, ('', ' '))}{half}"
    name = _HOURS[twelve - 1]
    if how < 0.8:
        return one(
            rng,
            (f"{name} o'clock", f"{twelve} o'clock", f"{name} in the {one(rng, ('morning', 'afternoon', 'evening'))}"),
        )
    if how < 0.97:
        part = one(
            rng,
            (
                "half past",
                "quarter past",
                "quarter to",
                "half past",
                "ten to",
                "ten past",
                "twenty past",
                "twenty to",
                "five past",
                "five to",
                "twenty-five past",
                "twenty-five to",
            ),
        )
        return f"{part} {name if rng.random() < 0.6 else twelve}"
    return one(rng, ("noon", "midday", "midnight", "dawn", "sunset", "lunchtime", "teatime", "first light"))


def when(rng: Random) -> str:
    """ "on Thursday at 14:30": a day and a time."""
    how = rng.random()
    hour = time(rng)
    if how < 0.55:
        return f"on {one(rng, _DAYS)} at {hour}"
    if how < 0.67:
        return f"{one(rng, ('next', 'this'))} {one(rng, _DAYS)} at {hour}"
    if how < 0.77:
        return f"{one(rng, ('tomorrow', 'tomorrow', 'today', 'the day after tomorrow'))} at {hour}"
    if how < 0.85:
        return f"at {hour} on {one(rng, _DAYS)}"
    return f"on {date(rng)} at {hour}"


def year(rng: Random) -> str:
    return str(whole(rng, 1930, 2031))


_SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def duration(rng: Random) -> str:
    """ "three weeks", "45 minutes", "an hour and a half"."""
    how = rng.random()
    unit = one(
        rng,
        ("minutes", "hours", "hours", "days", "days", "weeks", "weeks", "months", "months", "years", "years", "nights"),
    )
    if how < 0.42:
        return f"{one(rng, _SMALL)} {unit}"
    if how < 0.72:
        if unit == "minutes":
            return f"{whole(rng, 2, 95)} {one(rng, ('minutes', 'minutes', 'mins'))}"
        return f"{whole(rng, 2, 24)} {unit}"
    if how < 0.84:
        return f"{one(rng, _SMALL)} and a half {one(rng, ('hours', 'weeks', 'months', 'years', 'days'))}"
    if how < 0.9:
        hours = one(rng, ("an hour", "two hours", "three hours", "four hours", "five hours"))
        return f"{hours} and {5 * whole(rng, 1, 11)} minutes"
    if how < 0.95:
        return f"{one(rng, ('a year', 'two years', 'three years', 'four years'))} and {one(rng, _SMALL)} months"
    return one(
        rng,
        (
            "an hour",
            "half an hour",
            "a week",
            "a fortnight",
            "a month",
            "a year",
            "a decade",
            "a whole weekend",
            "all summer",
            "a day and a half",
            "an hour and a half",
            "a year and a half",
            "three quarters of an hour",
            "a couple of days",
            "half a year",
            "a whole winter",
            "a quarter of an hour",
            "six months",
            "a couple of hours",
            "a long weekend",
        ),
    )


frequency = mixed(
    (30, forms("(once|twice|three times|four times|five times) a (day|week|month|year)")),
    (25, forms("every {day}", "every other {day}", "on {day}s", "every {day} (morning|evening|night)", day=_day_name)),
    (
        25,
        forms(
            "every (two|three|four|five|six|eight|ten) (hours|days|weeks|months|years)",
            "every other (day|week|month|year|weekend)",
        ),
    ),
    (
        20,
        forms(
            "every (day|week|month|year|morning|evening|night|weekend|summer|winter|spring|autumn)",
            "daily",
            "weekly",
            "monthly",
            "once a fortnight",
            "every fortnight",
            "on weekdays",
            "at weekends",
            "twice a fortnight",
            "once in a blue moon",
            "every hour",
            "before every meal",
            "after every meal",
            "at bedtime",
            "once every (two|three|five|ten) years",
        ),
    ),
)
