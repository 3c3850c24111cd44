"""The rules in their order on one document, and the tally of what each did.

In: a document. Out: the document as it is kept (language noted, boilerplate lines gone, personal data masked)
or as it came with the rule and the reason that removed it. A word split is made once per text and shared.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from athanor.core.documents import Document, Removed
from athanor.data import harmful, language, pii, url
from athanor.data.config import Filter
from athanor.data.filters import c4, fineweb, gopher_quality, gopher_repetition
from athanor.data.filters.verdict import Verdict
from athanor.data.filters.words import Words, words_of

C = TypeVar("C")


@dataclass
class Passage:
    """What went into one rule and what came out, over many documents."""

    documents_in: int = 0
    documents_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    """Reason -> documents."""
    changed: Counter[str] = field(default_factory=Counter)
    """What the rule took out of documents it kept: reason -> lines, kind of personal data -> finds."""

    def add(self, other: "Passage") -> None:
        """Count what `other` counted."""
        self.documents_in += other.documents_in
        self.documents_out += other.documents_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.removed += other.removed
        self.changed += other.changed


Funnel = dict[str, Passage]
"""Rule -> its passage, in the order of the rules."""

Rule = Callable[[Document], tuple[Document, Verdict, Counter[str]]]
"""The document after the rule, whether it is kept, and what was taken out of its text."""


def rules_of(config: Filter) -> dict[str, Rule]:
    """The rules that `config` asks for, by name, in order.

    Raises ValueError for a rule that cannot be had, for instance where a list of addresses is wrong or missing.
    """
    words = _shared_words()
    made = {
        "url": config.url and _url_rule(config.url),
        "language": config.language and _language_rule(config.language),
        "harmful": config.harmful and _harmful_rule(config.harmful),
        "gopher_repetition": _words_rule(gopher_repetition.judge, config.gopher_repetition, words),
        "gopher_quality": _words_rule(gopher_quality.judge, config.gopher_quality, words),
        "c4": config.c4 and _c4_rule(config.c4, words),
        "fineweb": _words_rule(fineweb.judge, config.fineweb, words),
        "pii": config.pii and _pii_rule(config.pii),
    }
    if config.compat == "datatrove":
        from athanor.data.compat.rules import compat_rules

        made |= compat_rules(config)
    return {name: rule for name, rule in made.items() if rule}


@dataclass(frozen=True, slots=True)
class Applied:
    """One rule on one document, for a trace: the document before and after it, and what the rule said."""

    rule: str
    before: Document
    after: Document
    verdict: Verdict
    changed: Counter[str]
    """What the rule took out of the text: reason -> lines, kind of personal data -> finds."""


def judge(
    document: Document,
    rules: dict[str, Rule],
    funnel: Funnel,
    trace: Callable[[Applied], object] | None = None,
) -> Document | Removed:
    """`document` as kept, or as it came with what removed it; each rule it met is counted in `funnel`.

    `trace`, for instance the `append` of a list, is called after each rule that the document met, the one that
    removed it included.
    """
    current = document
    for name, rule in rules.items():
        size = len(current.text.encode())
        passage = funnel.setdefault(name, Passage())
        passage.documents_in += 1
        passage.bytes_in += size
        after, verdict, changed = rule(current)
        if trace:
            trace(Applied(name, current, after, verdict, changed))
        if not verdict.kept:
            passage.removed[verdict.reason] += 1
            noted = replace(document, language=after.language, metadata=after.metadata)
            return Removed(noted, removed_by=name, reason=verdict.reason)
        passage.documents_out += 1
        passage.bytes_out += size if after.text is current.text else len(after.text.encode())
        passage.changed += changed
        current = after
    return current


def _url_rule(rule: url.UrlRule) -> Rule:
    blocked = url.block_list(rule)
    return lambda document: (document, url.judge(document.url, blocked), Counter())


def _language_rule(rule: language.LanguageRule) -> Rule:
    def apply(document: Document) -> tuple[Document, Verdict, Counter[str]]:
        ranked = language.ranked(document.text, rule.max_characters, max(1, rule.noted))
        code, score = ranked[0] if ranked else ("", 0.0)
        metadata: dict[str, Any] = {**document.metadata, "language_score": score}
        if rule.noted:
            metadata["languages"] = [list(pair) for pair in ranked]
        noted = replace(document, language=code, metadata=metadata)
        return noted, language.judge(code, score, rule), Counter()

    return apply


def _harmful_rule(rule: harmful.HarmfulRule) -> Rule:
    score = harmful.scorer(rule)

    def apply(document: Document) -> tuple[Document, Verdict, Counter[str]]:
        harm = score(document.text)
        noted = replace(document, metadata={**document.metadata, "harmful": harm.scores})
        return noted, harmful.judge(harm, rule), Counter()

    return apply


def _words_rule(judge: Callable[[Words, C], Verdict], rule: C | None, words: Callable[[str], Words]) -> Rule | None:
    """A rule that needs nothing but the words of a text."""
    if rule is None:
        return None
    return lambda document: (document, judge(words(document.text), rule), Counter())


def _c4_rule(rule: c4.C4, words: Callable[[str], Words]) -> Rule:
    def apply(document: Document) -> tuple[Document, Verdict, Counter[str]]:
        cleaned = c4.clean(words(document.text), rule)
        return _with_text(document, cleaned.text), cleaned.verdict, cleaned.lines_removed

    return apply


def _pii_rule(rule: pii.Pii) -> Rule:
    def apply(document: Document) -> tuple[Document, Verdict, Counter[str]]:
        text, found = pii.mask(document.text, rule)
        masked = _with_text(document, text)
        if found:
            metadata: dict[str, Any] = {**document.metadata, "pii": dict(sorted(found.items()))}
            masked = replace(masked, metadata=metadata)
        return masked, pii.judge(found, rule), found

    return apply


def _with_text(document: Document, text: str) -> Document:
    return document if text == document.text else replace(document, text=text)


def _shared_words() -> Callable[[str], Words]:
    """A word split that remembers the last text, which the next rule asks for again."""
    last = words_of("")

    def words(text: str) -> Words:
        nonlocal last
        if last.text != text:
            last = words_of(text)
        return last

    return words
