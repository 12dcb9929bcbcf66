"""Which script a text is written in, and in which language by its function words: small, without a model, and honest.

Scripts are told by the blocks of Unicode, languages of one script by how many of the text's words are among the most
frequent function words of each. That takes a sentence or two; formulas, names and short answers cannot be told.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from loops.exams.index import words_of

LEAST_WORDS = 8
"""Words from which a language is told by its function words. Our choice."""
LEAST_SHARE = 0.12
"""Share of function words among all from which a language is told. Our choice; running text has 0.3 to 0.5."""

_RANGES = (
    ("latin", "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"),
    ("greek", "\u0370-\u03ff\u1f00-\u1fff"),
    ("cyrillic", "\u0400-\u052f"),
    ("armenian", "\u0531-\u0587"),
    ("hebrew", "\u05d0-\u05ea"),
    ("arabic", "\u0620-\u064a\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f"),
    ("devanagari", "\u0900-\u0963\u0971-\u097f"),
    ("bengali", "\u0980-\u09e5"),
    ("tamil", "\u0b80-\u0be5"),
    ("telugu", "\u0c00-\u0c63"),
    ("thai", "\u0e01-\u0e4e"),
    ("georgian", "\u10a0-\u10ff"),
    ("hangul", "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"),
    ("kana", "\u3041-\u30ff"),
    ("han", "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"),
)
# A Greek letter alone is a sign of a formula.
_SCRIPT = re.compile("|".join(f"(?P<{name}>[{signs}]{'{2,}' if name == 'greek' else '+'})" for name, signs in _RANGES))


class Language(NamedTuple):
    """How a language is known."""

    scripts: tuple[str, ...]
    words: frozenset[str] = frozenset()
    """Its most frequent function words; empty where the script tells it."""


def _of(script: str, words: str) -> Language:
    return Language((script,), frozenset(words.split()))


LANGUAGES: Mapping[str, Language] = {
    "en": _of(
        "latin",
        "the of and to in is that it for was with as are be this have from or by not but what which they you he she at "
        "his her their there we will would can has had if each how many then so than all were been who do does",
    ),
    "de": _of(
        "latin",
        "der die das und ist nicht ein eine einen einem einer zu den dem des mit sich auf für von im wir ich sie er es "
        "wie viele auch als aber hat haben sind war werden wird bei nach um aus dass oder so dann noch nur wenn",
    ),
    "fr": _of(
        "latin",
        "le la les des une et est que qui dans pour pas sur avec ce cette il elle ils nous vous au aux du de par plus "
        "son sa ses mais ou où sont était être comme combien donc leur on ne se a en un",
    ),
    "es": _of(
        "latin",
        "el la los las de que y en un una es por con para no se lo del al como más su sus pero ha son fue está este "
        "esta cuántos cuántas si o cada tiene entonces hay le ya muy también",
    ),
    "it": _of(
        "latin",
        "il lo la gli le di che e è un una per non con si da in del della dei delle al alla nel nella ha sono come più "
        "ma quanto quanti quante anche se o ogni suo sua questo questa poi",
    ),
    "pt": _of(
        "latin",
        "o a os as de que e em um uma é por com para não se do da dos das no na nos nas ao mais como mas foi são tem "
        "seu sua quantos quantas ou cada ele ela isso então também está",
    ),
    "nl": _of(
        "latin",
        "de het een en van is dat in te niet op zijn met voor die er aan om ook als maar bij hij zij ze wij we naar "
        "dan nog hoeveel heeft hebben was werd worden wordt uit door over of dit deze elke",
    ),
    "sv": _of(
        "latin",
        "och att det som en ett är av för på med den till inte har de var om jag han hon vi från så men kan eller när "
        "hur många varje sig sin ska nu då också än blir",
    ),
    "pl": _of(
        "latin",
        "i w na z się nie to że jest do o jak ale po co tak za od przez dla czy ile są był była było być ma już tylko "
        "oraz każdy ich jego jej więc lub które który która",
    ),
    "tr": _of(
        "latin",
        "ve bir bu için ile de da ne kadar çok daha en gibi olan olarak var yok kaç her o ama sonra değil mi mı ise "
        "ki şu ya hem veya toplam tane",
    ),
    "vi": _of(
        "latin",
        "là và của có không một các được cho những với người này trong đã để khi từ đó bao nhiêu mỗi về thì cũng như ở "
        "ra đến tất cả",
    ),
    "id": _of(
        "latin",
        "yang dan di dari untuk pada dengan ini itu adalah tidak ke dalam berapa akan juga ada atau oleh dia mereka "
        "setiap jika lebih maka sebuah telah kita sudah banyak",
    ),
    "ru": _of(
        "cyrillic",
        "и в не на что он с по это как она но они мы к у из за то от так же для вы бы о сколько его её если их все был "
        "было есть каждый или",
    ),
    "uk": _of(
        "cyrillic",
        "і в не на що він з по це як вона але вони ми до у та за то від так же для ви б про скільки його її якщо їх "
        "всі був було є кожен або",
    ),
    "bg": _of(
        "cyrillic",
        "и в не на че той с по това как тя но те ние към у от за се така ще за вие би колко му ѝ ако им всички беше е "
        "са всеки или да си",
    ),
    "el": Language(("greek",)),
    "hy": Language(("armenian",)),
    "he": Language(("hebrew",)),
    "ar": _of("arabic", "في من على أن إلى هذا هذه التي الذي كان لا ما كم عن مع هو هي أو كل ثم قد إذا بعد بين كانت لم"),
    "fa": _of("arabic", "و در به از که این را با است برای آن یک خود تا بر چند می شود بود هر یا هم ما نیز اگر شد"),
    "ur": _of("arabic", "اور میں کے کی ہے سے کا کو نے پر یہ ہیں کہ اس ایک تھا کتنے وہ ہر یا بھی نہیں جو تو کر"),
    "hi": Language(("devanagari",)),
    "bn": Language(("bengali",)),
    "ta": Language(("tamil",)),
    "te": Language(("telugu",)),
    "th": Language(("thai",)),
    "ka": Language(("georgian",)),
    "ko": Language(("hangul",)),
    "ja": Language(("kana", "han")),
    "zh": Language(("han",)),
}
"""Code (ISO 639-1) of each language that can be told."""


def scripts_of(text: str) -> Counter[str]:
    """Return how many letters a text has of each script; letters of none of them are not counted."""
    found: Counter[str] = Counter()
    for run in _SCRIPT.finditer(text):
        assert run.lastgroup is not None
        found[run.lastgroup] += run.end() - run.start()
    return found


def language_of(text: str) -> str | None:
    """Return the code of the language that a text is written in; None where that cannot be told.

    By its most frequent script, then by function words where several languages share it. Japanese is told by kana, so
    that a Japanese text in Chinese signs alone is taken for Chinese.
    """
    scripts = scripts_of(text)
    if not scripts:
        return None
    if scripts["kana"] >= 0.1 * (scripts["kana"] + scripts["han"]) and scripts["kana"] + scripts["han"] > sum(
        count for name, count in scripts.items() if name not in ("kana", "han")
    ):
        return "ja"
    (script, _), *_ = scripts.most_common(1)
    sharing = [code for code, language in LANGUAGES.items() if script in language.scripts and code != "ja"]
    if len(sharing) == 1:
        return sharing[0]
    words = [word for word in words_of(text) if not word.isdecimal()]
    if len(words) < LEAST_WORDS:
        return None
    hits = {code: sum(word in LANGUAGES[code].words for word in words) for code in sharing}
    best, second = sorted(hits, key=lambda code: (-hits[code], code))[:2]
    if hits[best] < LEAST_SHARE * len(words) or hits[best] == hits[second]:
        return None
    return best
