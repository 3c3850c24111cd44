"""Names that a page documents, each with the first paragraph about it.

In: the passages of a page. Out: (name, answer) pairs, and a reason for every name without one. A name is a
defined term, a heading, or the page's own title; its answer is the first prose among the few paragraphs
that follow before the next name. Nothing here knows a particular site; that a page documents a module or
a package is read from its title.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from athanor.posttrain.passages import Passage

NameKind = Literal["module", "class", "function", "method", "attribute", "term", "topic", "section"]

FREE_KINDS = ("term", "topic", "section")  # of names that need not be code
SENTENCE_ENDS = ".!?…\"')”’"
PARAGRAPHS_TRIED = 3  # after a name; what comes later is seldom about the name as a whole
MIN_WORDS = 5
MIN_LETTERS = 0.75  # share of letters and spaces in prose; code and tables have fewer
MAX_NAME_CHARACTERS = 64
MAX_NAME_WORDS = 8
MAX_TITLE_CHARACTERS = 60

IDENTIFIER = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
MODULE_TITLE = re.compile(rf"\b(?:module|package)\s+({IDENTIFIER})\s*$")
SIGNATURE = re.compile(
    rf"^(?:(?:async|abstract|static|classmethod|class|exception|def)\s+)*({IDENTIFIER})\s*(?:\(|$)", re.ASCII
)
CLASS = re.compile(r"^(?:abstract\s+)?(?:class|exception)\s")
ONLY_SIGNATURE = re.compile(rf"^{IDENTIFIER}\s*\(.*\)\s*(?:->.*|:)?$", re.ASCII)
ALIAS = re.compile(r"^alias (?:for|of)\b", re.IGNORECASE)
ROLE = re.compile(r":[a-z]+(?::[a-z]+)*:`~?!?([^`<>]+)`")  # reStructuredText's :class:`Name`
RULER = re.compile(r"[-=~]{4,}")  # under a heading inside a docstring
TITLE_END = re.compile(r"\s+[|·–—-]\s+")


@dataclass(frozen=True)
class Answer:
    """A documented name and the first paragraph about it."""

    name: str
    kind: NameKind
    answer: str
    anchor: str
    title: str
    """Of the page."""


@dataclass(frozen=True)
class NoAnswer:
    """A name that gives no pair, and why."""

    name: str
    reason: str


def documented_names(
    found: Sequence[Passage], title: str, min_characters: int, max_characters: int
) -> list[Answer | NoAnswer]:
    """What a page says about each name on it, in reading order."""
    title = _one_line(title)
    module = MODULE_TITLE.search(title)
    module_name = module[1] if module else ""
    short_title = TITLE_END.split(title)[0][:MAX_TITLE_CHARACTERS].strip()
    results: list[Answer | NoAnswer] = []
    class_name = ""  # of the class whose members are being read
    if found and not any(passage.kind == "heading" and passage.level == 1 for passage in found):
        found = [Passage("heading", title, level=1), *found]
    for i, passage in enumerate(found):
        if passage.kind not in ("heading", "term"):
            continue
        name, kind = name_of(passage, module_name, class_name)
        if passage.kind == "heading":
            class_name = name if kind == "class" else ""
        if name.startswith("_") or "._" in name:
            results.append(NoAnswer(name, "a private name"))
            continue
        text, reason = _first_prose(found[i + 1 :], min_characters, max_characters)
        reason = _name_refused(passage, name) or reason
        if not reason and kind in FREE_KINDS and text[-1] not in SENTENCE_ENDS:
            reason = "not a sentence"
        if reason:
            results.append(NoAnswer(name, reason))
        else:
            results.append(Answer(name, kind, text, passage.anchor, short_title))
    return results


def name_of(passage: Passage, module_name: str, class_name: str) -> tuple[str, NameKind]:
    """The name that a heading or term introduces, qualified as far as the page tells, and its kind.

    `class_name` is the class under whose heading it stands, and qualifies a member without an anchor.
    """
    text = passage.text.strip(" ¶#§:")
    if module_name and text.split(" ")[0] == module_name:
        return module_name, "module"
    signature = SIGNATURE.match(text)
    emphasised = re.fullmatch(IDENTIFIER, passage.emphasis, re.ASCII)
    callable_ = "(" in text
    if not (emphasised or signature) or not (callable_ or passage.emphasis or module_name):
        if passage.kind == "term":
            return text, "term"
        return text, "topic" if passage.level <= 1 else "section"
    name = emphasised[0] if emphasised else signature[1] if signature else text
    parts = [part for part in passage.anchor.replace("-", ".").split(".") if part]
    if parts and parts[-1] == name:
        name = ".".join(parts)
    elif class_name and passage.kind == "term" and not parts:
        name = f"{class_name}.{name}"
    is_class = CLASS.match(text) is not None
    in_class = "-" in passage.anchor.strip("-") or bool(class_name and name.startswith(class_name + "."))
    if module_name and not name.startswith(module_name + "."):
        name = f"{module_name}.{name}"
    if is_class:
        return name, "class"
    if not callable_:
        return (name, "attribute") if in_class or passage.kind == "term" else (text, "section")
    return name, "method" if in_class else "function"


def _name_refused(passage: Passage, name: str) -> str:
    """Why a name cannot be asked about; empty where it can."""
    if " = " in passage.text:
        return "an alias"
    if not 2 <= len(name) <= MAX_NAME_CHARACTERS or len(name.split()) > MAX_NAME_WORDS:
        return "name too short or too long"
    if not re.search(r"[^\W\d_]", name):
        return "name without letters"
    return ""


def _first_prose(following: Sequence[Passage], min_characters: int, max_characters: int) -> tuple[str, str]:
    """The first prose before the next name, or an empty text and the reason."""
    first_reason = ""
    tried = 0
    for passage in following:
        if passage.kind in ("heading", "term") or tried == PARAGRAPHS_TRIED:
            break
        if passage.kind != "paragraph":
            first_reason = first_reason or "only code or a list"
            continue
        tried += 1
        text = ROLE.sub(r"\1", html.unescape(passage.text)).replace("``", "`")
        reason = not_prose(text, min_characters)
        if not reason:
            shortened = whole_sentences(text, max_characters)
            return (shortened, "") if len(shortened) >= min_characters else ("", "too long")
        first_reason = first_reason or reason
    return "", first_reason or "nothing follows"


def not_prose(text: str, min_characters: int) -> str:
    """Why `text` is no answer; empty where it is one."""
    if ALIAS.match(text):
        return "an alias"
    if ONLY_SIGNATURE.match(text):
        return "only a signature"
    if len(text) < min_characters:
        return "too short"
    if len(text.split()) < MIN_WORDS:
        return "fewer than 5 words"
    if text.endswith(":") or ">>>" in text or RULER.search(text):
        return "leads up to code or a list"
    if not (text[0].isalpha() or text[0] in "\"'`“‘"):
        return "does not begin like a sentence"
    if sum(character.isalpha() or character == " " for character in text) < MIN_LETTERS * len(text):
        return "mostly symbols"
    return ""


def whole_sentences(text: str, max_characters: int) -> str:
    """`text`, or as many whole sentences of it as fit; empty where not one fits."""
    if len(text) <= max_characters:
        return text
    ends = [match.end(1) for match in re.finditer(r"([.!?][\"')\]]*)\s+(?=[A-Z\"'`(])", text[: max_characters + 2])]
    fitting = [end for end in ends if end <= max_characters]
    return text[: fitting[-1]] if fitting else ""


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
