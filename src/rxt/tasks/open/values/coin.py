"""Words that nobody has heard: names, places and words put together from the syllables of many languages, or from
pieces of names that there are. So any spelling comes up: every letter, digraphs, double letters, accents."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from rxt.tasks.open.values import Draw
from rxt.tasks.open.values.pick import capital, mixed, one, table


@dataclass(frozen=True)
class Sounds:
    """What the syllables of a language are made of; "-" is nothing."""

    onsets: tuple[str, ...]
    nuclei: tuple[str, ...]
    codas: tuple[str, ...]
    given: tuple[str, ...]
    """Endings of people's names."""
    family: tuple[str, ...]
    place: tuple[str, ...]


def _sounds(onsets: str, nuclei: str, codas: str, given: str, family: str, place: str) -> Sounds:
    parts = [tuple("" if part == "-" else part for part in text.split()) for text in (onsets, nuclei, codas)]
    return Sounds(*parts, *(tuple(text.split()) for text in (given, family, place)))


_ALL = (
    _sounds(  # English
        "b br c ch cl d dr f fl g gr h j k l m n p pr r s sh st t th tr v w wh - -",
        "a a e e i i o o u ai ea ee oo ou ie ay",
        "- - - b ck d ff ft g l ll lm m n nd ng nt p r rd rk rn s sk ss st t tch th x zz",
        "ie y ey a en er on el yn ette ina ley ton an us ora",
        "son ton ley ford well worth man er ham field by croft shaw bridge more stone wick ridge ing den",
        "ton ham bury ford ley worth wick mouth bridge field stead by thorpe minster port haven well don combe gate",
    ),
    _sounds(  # Slavic
        "b br č d dr g gr h hr j k kr l lj m mil n p pr r s sl st š t v vl z ž zd rad dob br",
        "a a e e i o o u ja",
        "- - - - k l m n r s t v š",
        "ka ana ina mir slav ko ša ica eta an en ena ina ina ija ek uša",
        "ić ović ević ek ák ov ova enko ski ska sky chuk in ina uk ar ník",
        "grad ov ovo ice nica ec iště sk evo ava ik ina any ín ka",
    ),
    _sounds(  # Polish
        "b br c ch cz d dz g gr h j k kr kw l ł m n p prz r rz s sz ś św t tr w wr z ź ż",
        "a a e e i o o u ó y ą ę ie",
        "- - - c j k ł l m n ń r s ść w",
        "ek ka ina ław sia osz usz anna isława omir ysz ena",
        "ski ska czyk ak ek owicz ewski ńska uk iak arz ała",
        "ów owo ice in sk nik awa no cz wice brzeg yń",
    ),
    _sounds(  # Nordic
        "b bj br d f fj fr g gr h hj j k kj kl kv l m n r s sk sn st sv t th tr v ø- å- -",
        "a a e e i o u y ä ö å ø æ ei",
        "- - - f g k l ld ll m n nd ng nn r rk rn s st t tt v",
        "a e i ar en in da id ulf hild rid vig grim dis finn stein ja ga ur",
        "sen sson berg dal lund ström gren gård stad vik dóttir heim holm qvist haug nes",
        "vik heim stad by fors nes dal havn sund lund holm fjord ås borg køping mo",
    ),
    _sounds(  # German and Dutch
        "b bl br d dr f fl fr g gr h j k kl kn kr l m n pf qu r s sch schl schw sp st str t tr v w z zw -",
        "a a e e i o u ä ö ü au ei eu ie aa oe ij uu",
        "- - - ch ck ff g hn l lf ll lz m n nd ng nk nn r rg rt s sch ss t tt tz",
        "e a el chen lind hild bert mut gard wig rich fried ke tje lies olf",
        "mann er berg stein bach meier ke ing hofer feld stra ma huis sen hauser burg thal",
        "burg stadt hausen heim dorf berg bach feld au ingen rode dam drecht wijk hafen brück tal",
    ),
    _sounds(  # Italian
        "b br c ch d f fr g gh gi gl l m n p pr qu r s sc sp st t tr v z -",
        "a a e e i i o o u ia io",
        "- - - - - l n r s cc gg ll nn pp rr ss tt zz",
        "a o ella ina etta ino uccia aldo isa enzo ia io ella otto",
        "ini etti ucci elli ano one aro ese oni acci ardi azzo",
        "ano ena ara ello ino etta aria one azzo ona igno ole",
    ),
    _sounds(  # Spanish and Portuguese
        "b br c ch d f g gu h j l ll m n ñ p pr qu r s t tr v x y z - lh nh ç",
        "a a e e i o o u ue ia ã á é í ó",
        "- - - - - l m n r s z",
        "a o ita ito ela ano ión ina eza inho ira dor ica elo",
        "ez eira era ado ales ero oso ães anda ara inho uela",
        "ona illa ar eda al ejo ía uela ares edo os anca ito",
    ),
    _sounds(  # French
        "b bl br c ch d f fl fr g gn gr j l m n p pl pr qu r s t tr v -",
        "a a e é è i o ou u eau ai au oi eu ê ô",
        "- - - - l ll n nn r s t tt ss",
        "e ette ine elle ien ard eline ie in aud ot ée ise ène",
        "eau ard ier et in on oux ault ert ot ais ois ille",
        "ville ac ay y court eux ières ange ogne eaux igny euil",
    ),
    _sounds(  # Finnish and Estonian
        "h j k l m n p r s t v - - t k",
        "a a e i o u y ä ö aa ee ii uu ai ei ie uo yö ää õ ü",
        "- - - - l n r s t kk ll mm nn pp ss tt",
        "o i a ja ri na kka li vi nen sto ru ke",
        "nen la lä ainen onen salo mäki niemi lahti koski ste maa",
        "la järvi niemi koski lahti mäki saari vaara pää ranta kylä",
    ),
    _sounds(  # Turkish and Hungarian
        "b c cs ç d f g gy h j k l m n ny p r s sz ş t v y z zs -",
        "a a e e ı i o ö u ü á é ő ű",
        "- - - k l m n r s t y z ğ gy ll",
        "can nur gül han su ka kó la ke il mer ette ya ay",
        "oğlu er türk demir kaya i y fi ó as alan ay",
        "köy pınar hisar dere kale vár háza hely ova falva",
    ),
    _sounds(  # Arabic and Persian
        "b d dh f gh h j k kh l m n q r s sh t th w y z '- -",
        "a a a i i u aa ee ou ai",
        "- - - b d f h l m n q r s t z",
        "a ah iya een ar an im id oud ra eh naz shid ina",
        "i awi ani abadi zadeh oui eddine pour ian ari",
        "abad an iya istan ah oun it eh shahr kand",
    ),
    _sounds(  # Indian
        "b bh ch d dh g gh h j k kh l m n p ph r s sh t th v y pr shr sw -",
        "a a a aa e i ee o u oo ai",
        "- - - - l m n r sh t nd",
        "a i esh it ya ika endra ini an ita ash av deep jit",
        "kar wal an ar as ta nath swamy appa ekar iah anath",
        "pur bad nagar garh ore ai kot patnam gaon palli",
    ),
    _sounds(  # Japanese
        "ch f g h j k k m m n n r r s s sh t t ts w y y z ky ry -",
        "a a i i u e o o ō ū",
        "- - - - - - n",
        "ko mi ka ta ro ki to ya ri na ji suke",
        "moto mura ta da yama kawa no shima saki hara be",
        "yama shima kawa saki hama moto ura sawa dani",
    ),
    _sounds(  # Chinese, Korean and Vietnamese
        "b ch d f g gw h hy j k l m n p q r s sh t w x y z zh ng ph tr",
        "a ai ao e ei i ia ie iu o ou u ui uan ue eo eu ạ ê ơ ư",
        "- - - n ng k m",
        "an ing ei ua i ong ia en uk in",
        "ng an u ao i ou ang en",
        "zhou an jing shan gang ju san yang",
    ),
    _sounds(  # African
        "b ch d f g k l m mb mw n nd ng ny nk p r s sh t th w y z gb kw hl dl -",
        "a a a e i i o o u u",
        "- - - - - - - m n",
        "a i e o wa si le ni ku la mba yo sha",
        "ngi we ku nde ba mo la zi tu nyo kwe",
        "ni la ba we ngo pe no shi nda ra",
    ),
    _sounds(  # Polynesian
        "f h k k l l m n p r t v w wh ng - - '-",
        "a a ā e i o ō u ai au oa ia",
        "- - -",
        "lani na ka loa ni a hine oa mele",
        "loa nui mana pule kai ata iki",
        "nui roa iki ao puna moana ola waka",
    ),
    _sounds(  # Celtic
        "b br c ch d dd dr f ff g gl gw h ll l m mh n p r rh s t th tr bh -",
        "a a e i o u w y ae ei wy io ao á í ó ea",
        "- - - c ch d dd l ll n nn r rch s t th gh",
        "wen wyn en ys an a in og nait ian eth ydd",
        "ach an ell yn eth gan nagh ow ins ock",
        "dwy llan wyn ty pen goch ness more dale y gwaun glas",
    ),
    _sounds(  # Greek and Georgian
        "b d f g gv ch k kh ks l m n p ph ps r s sp st t th ts tsk v x z zh -",
        "a a e e i i o o ou y eia ia",
        "- - - - k l n r s x",
        "os is ia ina eri oula andros iki ia ela o uri",
        "idis opoulos akis adze shvili iou elis atos ani ava",
        "os ia isi polis eti oni ora era ika umi",
    ),
    _sounds(  # any letters
        "b c d f g h j k l m n p q r s t v w x y z bl cr dw fl gl ph qu sk sm spl squ str thr tw vl wr zh kn gn rh",
        "a e i o u y aa ae ea ee ei ia ie io oa oe oi oo ou ue ui ay ey oy uy",
        "- b c d f g h k l m n p q r s t v w x z bb dd gg lf ll mm mp nn nk pp ps pt rr rv sh ss st tt th tz zz ck",
        "a e i o u y ax ex ix ox ux il iq ev oz ub um yx yl",
        "ex ock iff umb art ips ogg ull worth itz owe ax",
        "ax ock um or is mar gate fell oss ruk eth",
    ),
)


def _stem(rng: Random, sounds: Sounds, syllables: int) -> str:
    text = ""
    for at in range(syllables):
        onset = one(rng, sounds.onsets).rstrip("-")
        text += onset + one(rng, sounds.nuclei)
        if at == syllables - 1 or rng.random() < 0.25:
            text += one(rng, sounds.codas)
    return text


def _joined(stem: str, ending: str) -> str:
    """Two vowels do not meet, nor three of a letter."""
    if stem[-1:] in "aeiouy" and ending[:1] in "aeiouyáéíóúěà":
        stem = stem[:-1]
    if len(stem) > 1 and stem[-1] == stem[-2] == ending[:1]:
        stem = stem[:-1]
    return stem + ending


def _sized(text: str, longest: int) -> str:
    text = text.strip("'")[:longest].strip("' -")
    return capital(text if len(text) >= 3 else text + "lo" if len(text) == 2 else text + "mina")


def _coined(endings: str, longest: int) -> Draw:
    def draw(rng: Random) -> str:
        sounds = _ALL[int(rng.random() * len(_ALL))]
        stem = _stem(rng, sounds, 1 if rng.random() < 0.62 else 2)
        if rng.random() < 0.85:
            stem = _joined(stem, one(rng, getattr(sounds, endings)))
        return _sized(stem, longest)

    return draw


def _bare(longest: int) -> Draw:
    """A word without an ending that would tell what it is."""

    def draw(rng: Random) -> str:
        sounds = _ALL[int(rng.random() * len(_ALL))]
        return _sized(_stem(rng, sounds, 1 + int(rng.random() * 2.6)), longest)

    return draw


def _blended(name: str) -> Draw:
    """The beginning of one of a list and the end of another: "Guinevald"."""

    def draw(rng: Random) -> str:
        first, second = one(rng, table(name)).split(" ")[0], one(rng, table(name)).split(" ")[-1]
        cut = 1 + int(rng.random() * (len(first) - 1))
        keep = 1 + int(rng.random() * (len(second) - 1))
        return _sized(_joined(first[: max(cut, 2)], second[keep:].lower()), 13)

    return draw


def _respelled(name: str) -> Draw:
    """One of a list with a letter that is another, one more, one less, or twice there: "Hannrah"."""

    def draw(rng: Random) -> str:
        text = one(rng, table(name)).split(" ")[-1]
        at = 1 + int(rng.random() * (len(text) - 1))
        how = rng.random()
        letter = one(rng, "aeiouy") if text[at] in "aeiouy" else one(rng, "bcdfghjklmnpqrstvwxz")
        if how < 0.55:
            text = text[:at] + letter + text[at + 1 :]
        elif how < 0.75:
            text = text[:at] + one(rng, "aeioulnrst") + text[at:]
        elif how < 0.9:
            text = text[:at] + text[at + 1 :]
        else:
            text = text[:at] + text[at] + text[at:]
        return _sized(text, 13)

    return draw


coined_given = mixed((5, _coined("given", 12)), (3, _blended("given_names")), (2, _respelled("given_names")))
coined_family = mixed((6, _coined("family", 14)), (3, _blended("surnames")), (2, _respelled("surnames")))
coined_place = mixed((6, _coined("place", 14)), (3, _blended("places")), (2, _respelled("places")))
coined_pet = mixed((3, _coined("given", 8)), (3, _bare(8)), (2, _blended("pets")), (1, _respelled("pets")))
coined_brand = mixed((3, _bare(9)), (2, _coined("given", 9)), (1, _respelled("brands")))


_COMMON = frozenset(table("stop_words"))
"""What a coined word must not be by chance."""


def coined_word(rng: Random) -> str:
    """A word in small letters."""
    text = (_blended_word if rng.random() < 0.3 else _bare_word)(rng).lower()
    return text + "ub" if text in _COMMON else text


_blended_word = _blended("rare_words")
_bare_word = _bare(11)
