"""The values that facts take: short common words, so that a tokenizer needs one or two tokens for most of them.

Within a pool no value is a word of another, so whether an answer names a value is decided by looking for whole words.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FEMALE_NAMES = _words("""
    Anna Maria Emma Olivia Sophie Alice Julia Laura Sarah Kate Eva Nina Clara Rose Lily Daisy Lucy Amy Helen Jane
    Mary Susan Linda Karen Nancy Betty Sandra Donna Carol Ruth Sharon Laurel Diana Julie Joan Judy Rachel Megan
    Hannah Martha Teresa Gloria Sylvia Agnes Irene Monica Vera Zoe Chloe Mia Ella Ava Isabel Elena Ingrid Greta
    Freya Astrid Yuki Aisha Fatima Leila Priya Mei Carmen Lucia Paula Rita Wendy Fiona
""")

MALE_NAMES = _words("""
    John James Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony Steven Paul Andrew
    Joshua Kevin Brian George Edward Ronald Timothy Jason Jeffrey Ryan Jacob Gary Nicholas Eric Jonathan Stephen
    Larry Justin Scott Brandon Benjamin Samuel Gregory Frank Alexander Patrick Raymond Jack Dennis Jerry Tyler Aaron
    Henry Peter Adam Nathan Walter Kyle Harold Carl Arthur Roger Lars Ivan Omar Ali Hiro Ravi Pablo Diego Marco
    Luca Felix Hugo
""")

NAMES = tuple(name for pair in zip(FEMALE_NAMES, MALE_NAMES, strict=True) for name in pair)

SURNAMES = _words("""
    Smith Johnson Brown Jones Miller Davis Garcia Wilson Anderson Taylor Moore Jackson Martin Lee Thompson Harris
    Clark Lewis Robinson Walker Young Allen King Wright Torres Nguyen Hill Flores Green Adams Nelson Baker Hall
    Rivera Campbell Mitchell Carter Roberts Turner Phillips Evans Parker Edwards Collins Stewart Morris Murphy Cook
    Rogers Morgan Cooper Peterson Bailey Reed Kelly Howard Ward Watson Brooks Bennett Gray Hughes Price Myers Foster
    Novak Kowalski Muller Schmidt Rossi Silva Santos Kim Tanaka Singh
""")

DOG_NAMES = _words("""
    Rex Luna Milo Bella Max Buddy Charlie Rocky Cooper Bear Duke Tucker Oliver Jake Zeus Toby Bailey Molly Sadie
    Maggie Daisy Lola Sophie Chloe Penny Ruby Rosie Coco Gracie Stella Ginger Pepper Shadow Lucky Buster Bruno Oscar
    Sam Jack Teddy Winston Murphy Gus Louie Finn Scout Ranger Hunter Rusty Sparky Spot Fido Lassie Bingo Ace Bandit
    Biscuit Cookie Dexter Hank Jasper Koda Leo Maple Nala Otis Piper Rufus Simba Thor Waffles Ziggy
""")

CAT_NAMES = _words("""
    Luna Milo Oliver Leo Simba Nala Bella Kitty Tiger Smokey Shadow Oreo Felix Tom Whiskers Mittens Socks Boots
    Patches Pumpkin Ginger Misty Cleo Coco Oscar Jasper Jinx Binx Gizmo Garfield Salem Loki Mimi Minnie Missy
    Muffin Olive Peanut Pepper Precious Princess Romeo Sasha Sassy Snowball Snowy Sooty Sugar Tigger Toffee Trixie
    Willow Ziggy Blackie Bubbles Callie Caramel Cinnamon Clover Dusty Fluffy Honey Kiki Marble Mochi Nacho Noodle
    Pickles Tabby Velvet
""")

CITIES = _words("""
    Paris London Rome Berlin Madrid Vienna Prague Warsaw Lisbon Dublin Athens Oslo Stockholm Helsinki Copenhagen
    Amsterdam Brussels Budapest Zurich Geneva Munich Hamburg Cologne Milan Naples Venice Florence Turin Barcelona
    Valencia Seville Porto Lyon Nice Marseille Manchester Liverpool Edinburgh Glasgow Bristol Oxford Cambridge Leeds
    Boston Chicago Houston Dallas Denver Seattle Miami Atlanta Detroit Phoenix Austin Portland Toronto Montreal
    Vancouver Ottawa Sydney Melbourne Brisbane Perth Auckland Tokyo Osaka Kyoto Seoul Beijing Shanghai Bangkok Hanoi
    Manila Jakarta Delhi Mumbai Dubai Cairo Nairobi Lagos Lima Bogota Santiago Havana Moscow Kiev Riga Vilnius
    Tallinn Krakow Gdansk Sofia Belgrade Zagreb Istanbul Ankara
""")

COUNTRIES = _words("""
    France Germany Italy Spain Portugal Poland Austria Hungary Greece Norway Sweden Finland Denmark Iceland Ireland
    Scotland England Wales Belgium Switzerland Croatia Serbia Slovenia Slovakia Bulgaria Romania Ukraine Russia
    Latvia Lithuania Estonia Turkey Egypt Morocco Tunisia Kenya Ghana Nigeria Ethiopia India Pakistan Nepal China
    Japan Korea Vietnam Thailand Malaysia Indonesia Australia Canada Mexico Cuba Jamaica Brazil Argentina Chile Peru
    Colombia Bolivia Ecuador Uruguay Israel Lebanon Jordan Iran Cyprus Malta
""")

JOBS = _words("""
    teacher doctor nurse baker lawyer farmer pilot chef waiter painter writer singer actor dancer musician engineer
    architect plumber electrician carpenter mechanic driver sailor soldier firefighter dentist vet pharmacist surgeon
    scientist chemist biologist programmer designer photographer journalist editor translator librarian secretary
    accountant banker cashier salesman tailor butcher gardener florist barber hairdresser judge detective guard
    postman builder miner fisherman butler cleaner coach referee therapist psychologist professor tutor potter
    jeweller welder receptionist beekeeper
""")

FOODS = _words("""
    pizza pasta sushi soup salad steak curry ramen lasagna risotto paella spaghetti rice bread cheese chicken fish
    salmon lobster bacon porridge cereal chocolate cake pie pudding cheesecake goulash stew chili hummus kebab couscous
    tofu gnocchi ravioli pesto quiche fondue popcorn tiramisu moussaka omelette shrimp falafel tuna beef lamb pork
    turkey duck ham yoghurt toast granola sauerkraut polenta custard fudge
""")

COLOURS = _words("""
    red blue green yellow orange purple pink brown black white grey gold silver turquoise violet indigo teal magenta
    cyan beige crimson scarlet maroon navy olive lavender peach coral ivory cream mint lilac amber emerald ruby
    sapphire bronze copper khaki mustard burgundy salmon mauve tan charcoal plum rose aqua lime fuchsia
""")

HOBBIES = _words("""
    painting drawing reading writing cooking baking gardening fishing hiking camping cycling swimming dancing singing
    knitting sewing pottery photography chess climbing sailing surfing skiing skating running jogging yoga karaoke
    origami astronomy birdwatching poker magic juggling archery kayaking blogging carving
    woodworking calligraphy embroidery crochet gaming geocaching meditation programming sculpting stargazing
    travelling volunteering beekeeping quilting foraging brewing
""")

INSTRUMENTS = _words("""
    piano guitar violin cello flute clarinet trumpet trombone tuba saxophone oboe bassoon harp harmonica
    accordion banjo ukulele mandolin viola organ recorder xylophone marimba vibraphone tambourine
    triangle lute lyre sitar zither dulcimer harpsichord keyboard synthesizer bugle cornet piccolo fiddle
    bass horn theremin kazoo ocarina didgeridoo djembe
""")

DRINKS = _words("""
    coffee tea water milk juice lemonade cola cocoa wine beer cider champagne whisky rum vodka gin espresso latte
    cappuccino mocha matcha chai kombucha soda tonic punch sherry brandy tequila mojito martini
    sangria prosecco lassi kefir buttermilk mead sake eggnog horchata ouzo grappa bourbon cognac americano macchiato
    rooibos
""")

SPORTS = _words("""
    football tennis basketball volleyball hockey rugby cricket baseball golf badminton boxing wrestling judo karate
    fencing gymnastics athletics rowing swimming cycling skiing snowboarding skating surfing sailing climbing archery
    handball softball squash bowling snooker darts curling polo lacrosse triathlon diving canoeing
    skateboarding weightlifting taekwondo bobsleigh biathlon motocross kickboxing netball
""")

ANIMALS = _words("""
    wolf fox bear lion tiger elephant giraffe zebra horse donkey cow sheep goat pig rabbit hare squirrel hedgehog
    mouse beaver otter badger deer moose camel llama kangaroo koala panda monkey gorilla leopard cheetah jaguar
    hippo rhino dolphin whale shark seal penguin owl eagle falcon parrot swan duck goose turtle snake lizard frog
    octopus butterfly bee ladybird spider crocodile flamingo peacock raven sloth raccoon
""")

CARS = _words("""
    Toyota Ford Honda BMW Audi Volvo Fiat Opel Skoda Mazda Nissan Kia Hyundai Tesla Volkswagen Mercedes Porsche
    Ferrari Jaguar Lexus Subaru Suzuki Mitsubishi Peugeot Renault Citroen Dacia Jeep Dodge Chevrolet Cadillac Buick
    Lincoln Chrysler Bentley Maserati Lamborghini Lancia Saab Rover Mini Acura Infiniti Genesis Lotus Bugatti
    Polestar Isuzu Lada Trabant Vauxhall Cupra
""")

FRUITS = _words("""
    apple banana cherry grape lemon lime mango melon orange peach pear plum kiwi fig coconut pineapple papaya apricot
    strawberry raspberry blueberry blackberry cranberry gooseberry watermelon pomegranate grapefruit tangerine
    clementine nectarine guava lychee persimmon quince mulberry avocado passionfruit mandarin jackfruit durian
    tamarind elderberry cantaloupe satsuma blackcurrant
""")

FLOWERS = _words("""
    rose tulip lily daisy orchid sunflower violet iris peony poppy daffodil lavender jasmine lilac carnation marigold
    magnolia hyacinth dahlia begonia petunia pansy geranium hydrangea chrysanthemum primrose snowdrop crocus freesia
    gardenia hibiscus camellia azalea foxglove bluebell buttercup cornflower zinnia lotus anemone aster clover
    heather honeysuckle snapdragon wisteria edelweiss
""")

LANGUAGES = _words("""
    French German Italian Spanish Portuguese Polish Czech Hungarian Greek Norwegian Swedish Finnish Danish Icelandic
    Irish Welsh Dutch Croatian Serbian Slovenian Slovak Bulgarian Romanian Ukrainian Russian Latvian Lithuanian
    Estonian Turkish Arabic Hebrew Persian Hindi Urdu Bengali Tamil Nepali Chinese Japanese Korean Vietnamese Thai
    Malay Indonesian Swahili Zulu Latin Esperanto Albanian Georgian Armenian Basque Catalan
""")

SCHOOL_SUBJECTS = _words("""
    maths history physics chemistry biology geography art music literature economics philosophy psychology sociology
    astronomy geology statistics algebra geometry drama theatre law politics religion ethics logic botany zoology
    genetics anatomy medicine engineering architecture design accounting marketing journalism linguistics grammar
    poetry archaeology anthropology ecology electronics robotics programming photography woodwork pottery rhetoric
""")

AGES = tuple(str(age) for age in range(18, 80))

_MONTH_DAYS = (
    ("January", 31), ("February", 28), ("March", 31), ("April", 30), ("May", 31), ("June", 30),
    ("July", 31), ("August", 31), ("September", 30), ("October", 31), ("November", 30), ("December", 31),
)  # fmt: skip

BIRTHDAYS = tuple(f"{day} {month}" for month, days in _MONTH_DAYS for day in range(1, days + 1))


def with_article(value: str) -> str:
    """``value`` with "a" or "an" before it: "a baker", "an Audi"."""
    vowel = value[0].lower() in "aeiou" and value.lower() != "ukulele"
    return f"{'an' if vowel else 'a'} {value}"
