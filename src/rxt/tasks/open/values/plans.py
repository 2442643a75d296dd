"""What people have to do, want and are kept from: errands, goals, reasons, events, tasks, projects."""

from __future__ import annotations

from rxt.tasks.open.values.people import ailment, person
from rxt.tasks.open.values.pick import a, animals, forms, listed, mixed
from rxt.tasks.open.values.places import country, place, venue

event = mixed(
    (42, listed("events")),
    (26, forms("{event_topics} {event_heads}")),
    (10, forms("(flight|train|ferry|bus|trip|coach|transfer) to {place}", place=place)),
    (
        8,
        forms(
            "(dinner|lunch|coffee|drinks|meeting|call|brunch|breakfast|appointment|interview) with {who}",
            who=mixed((3, person), (1, forms("the ({errand_calls}|{jobs}|neighbours|in-laws|cousins)"))),
        ),
    ),
    (6, forms("(dinner|lunch|meal|drinks|party|reading|concert|gig|interview) at {venue}", venue=venue)),
    (
        8,
        forms(
            "{who}'s (wedding|birthday|party|graduation|christening|leaving do|concert|baby shower|play|exhibition)",
            who=person,
        ),
    ),
)
task = mixed(
    (70, forms("{task_heads} on {topics}", "{subjects} {task_heads}", "{task_heads} on {animal}", animal=animals)),
    (
        20,
        forms(
            "{languages} (homework|essay|translation|test paper|vocabulary|worksheet|presentation)",
            "{task_heads} about {topics}",
        ),
    ),
    (10, forms("({subjects}|maths|history|music|art|{event_topics}) (coursework|homework|project|assignment)")),
)
project = mixed(
    (42, listed("projects")),
    (30, forms("{project_modifiers} {projects}")),
    (
        28,
        forms(
            "(new|old|big|little|second|first|back|weekend|secret|unfinished|winter|summer|holiday|spring|shared)"
            " {projects}",
            "{place} {projects}",
            place=listed("street_names"),
        ),
    ),
)

_for = forms(
    "for {who}",
    "for the (weekend|party|picnic|neighbours|trip|office|baby|team|guests)",
    "for (school|tomorrow|Sunday|dinner)",
    who=person,
)
errand = mixed(
    (
        16,
        forms(
            "(buy|get|pick up|order|fetch) {groceries}",
            "(buy|get) (some|more|enough) {groceries}",
            "(buy|get|order) {groceries} {why}",
            "buy {groceries} and {groceries}",
            why=_for,
        ),
    ),
    (
        10,
        forms(
            "(collect|pick up|fetch|get) the {fetchables} (from {where}|before (noon|five|six|closing time|school)"
            "|on the way home|)",
            where=mixed(
                (2, venue), (2, forms("the (station|post office|workshop|shop|airport|cleaner's|vet|framer|depot)"))
            ),
        ),
    ),
    (
        8,
        forms(
            "water the {waterables}",
            "water {who}'s {waterables}",
            "feed the {animal}",
            "(prune|weed|mulch|cover) the {waterables}",
            who=person,
            animal=animals,
        ),
    ),
    (
        8,
        forms(
            "(wash|iron|fold|hang up|soak|mend|put away) the {washables}",
            "(take|bring) the {washables} to the (cleaner's|launderette|tailor)",
        ),
    ),
    (
        8,
        forms(
            "(fix|repair|mend|oil|look at|replace|paint) the {repairables}",
            "(get|have) the {repairables} (fixed|repaired|looked at|replaced)",
        ),
    ),
    (
        8,
        forms(
            "(post|print|sign|fill in|scan|hand in|copy|find|send off|laminate) the {papers}",
            "(send|post|email|show) {who} the {papers}",
            who=person,
        ),
    ),
    (8, forms("(clean|tidy|clear out|scrub|hoover|sweep|dust|empty) the {tidyables}")),
    (
        8,
        forms(
            "(call|phone|ring|email|write to|pay|text|visit) the {errand_calls}",
            "(book|cancel|move|confirm|reschedule) the {events}",
        ),
    ),
    (
        12,
        forms(
            "(call|text|email|write to|thank|visit|ring|invite|pay) {who}",
            "(lend|give|send|return|show) {who} the {things}",
            "pick (up {who}|{who} up) from {where}",
            "(drive|walk|take) {who} to (the {place}|{where})",
            who=person,
            where=mixed((1, venue), (1, forms("the (station|airport|nursery|dentist|pool|gym|party)"))),
            place=forms("(dentist|doctor|hairdresser|bus stop|airport|harbour|match|vet|swimming baths)"),
        ),
    ),
    (
        8,
        forms(
            "(buy|find|get|order|wrap) {gift} for {who}",
            gift=a(forms("{thing_adjectives} {gifts}", "{gifts}")),
            who=person,
        ),
    ),
    (
        6,
        forms(
            "(pack|find|look for|return|label|lend out|clean|charge|sell) the {things}",
            "(find|look for|pack) the {thing_adjectives} {things}",
        ),
    ),
)
goal = mixed(
    (30, listed("goals")),
    (
        15,
        forms(
            "learn to {goal_learn}",
            "learn (how to|to) {goal_learn} (properly|well|before turning forty|by Christmas|this year|one day)",
        ),
    ),
    (
        17,
        forms(
            "(visit|move to|see|cycle to|live in|sail to|walk to|work in|retire to|spend a summer in|teach in) {where}",
            "(walk|cycle|drive|take the train) from {where} to {place}",
            where=mixed((2, country), (3, place)),
            place=place,
        ),
    ),
    (
        12,
        forms(
            "learn {languages}",
            "learn to play (the |){instruments}",
            "speak fluent {languages}",
            "read a whole book in {languages}",
        ),
    ),
    (
        10,
        forms(
            "study {subjects}",
            "get a (degree|doctorate|certificate|diploma) in {subjects}",
            "become a {jobs}",
            "retrain as a {jobs}",
        ),
    ),
    (
        16,
        forms(
            "(build|make|restore|design|finish) {thing}",
            "(write|publish|finish) a (book|novel|song|play|guide|blog) about ({topics}|{place})",
            "(open|run|start) a (shop|café|bakery|school|farm|guest house|workshop) in {place}",
            "own (ten|three|twenty|a hundred) {beasts}",
            "see {beasts} in the wild",
            "(grow|sell|show) {growables}",
            place=place,
            beasts=animals,
            thing=a(
                forms(
                    "{project_modifiers} {projects}",
                    "(wooden|stone|brick|glass) {projects}",
                    "{vehicle_types}",
                    "{projects}",
                )
            ),
        ),
    ),
)
reason = forms(
    "the ({appliances}|{vehicle_types}) (is|was) (broken|too loud|too old|stuck|beeping|leaking|rattling|overheating)",
    "the {surfaces} (is|was) (too old|missing|broken|wet|too heavy|too small|scratched|falling apart)",
    "the {house_rooms} (is|was) (too cold|too small|flooded|being painted|damp|full of boxes|upside down|never quiet"
    "|too dark)",
    "{who} (can't|couldn't|won't) (come|drive|pay|decide|sleep|climb stairs|be there|stand {beasts}|eat {food_bases}"
    "|hear well)",
    "{who} (is|was) (ill|late|away|allergic to {allergens}|afraid of {beasts}|too {traits}|in {place}|working nights"
    "|expecting twins|moving out)",
    "{who} (lost|forgot|broke|left|sold|never found|can't find|sat on|borrowed|hid) the {things}",
    "{who} (can't stand|hates|can't eat|is sick of) ({food_bases}|{foods}|{genres}|{sports})",
    "{who} (has|had) ({ailment}|to work late|to be in {place}|a meeting with {other}|an exam in {subjects}|a new"
    " {vehicle_types})",
    "the {errand_calls} (was closed|said no|never called back|is on strike|is on holiday|moved to {place}|was rude"
    "|lost the {papers})",
    "the {jobs} (said no|never called back|is on holiday|moved to {place}|was rude|retired|was late|came on the"
    " wrong day)",
    "(the rent|the fee|petrol|the ticket|childcare|heating|the bus pass) (went up|got too expensive|doubled|is too"
    " high|cost {n} euros)",
    "(it|the trip|the walk|the commute|the drive|the course) (is|was) (too far|too long|too expensive|boring"
    "|dangerous|cancelled|called off)",
    "they (closed|sold|moved|painted|flooded|lost|knocked down) the (school|road|bridge|office|pool|bakery|library"
    "|{house_rooms})",
    "the (roof|boiler|tap|gutter|ceiling|pipe|fridge|tent|boat) (leaks|leaked|broke|froze|burst|gave up|needs"
    " replacing)",
    "there (was|is) (a strike|a flood|no parking|too much noise|a {animals} in the {house_rooms}|ice on the road|no"
    " signal|a power cut)",
    "{who} got (a job in {place}|a place at {school}|married|the flu|a new boss|promoted|a puppy|lost in {place})",
    "the {events} (was moved|ran late|is the same day|was cancelled|clashed with the {event_topics} {event_heads})",
    "the {animals} (ate|hid|chewed|knocked over|sat on) the {things}",
    "the {repairables} (won't close|is broken|came off|squeaks|fell down|needs paint)",
    "nobody (wanted|liked|remembered|ordered|could find|brought) the ({things}|{foods}|{papers})",
    who=person,
    other=person,
    place=place,
    ailment=ailment,
    beasts=animals,
    n=forms("(12|20|35|40|60|75|90|120|300)"),
    school=forms("(art|music|drama|law|medical) school", "{place} (College|University)", place=place),
)
