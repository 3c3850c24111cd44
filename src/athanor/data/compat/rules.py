"""The rules of `compat: datatrove` as rules of a filter step.

In: the config of the step. Out: for each rule that datatrove has too, one that decides as datatrove does and gives
its reasons. Language and harmful text are judged by our own rules, and of personal data only e-mail and IPv4
addresses are masked, the replacements in turn through the documents of a shard.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from athanor.core.documents import Document
from athanor.data import pii
from athanor.data.compat import addresses, c4, fineweb, gopher
from athanor.data.compat.personal_data import Masker
from athanor.data.compat.spacy_words import require_spacy, split_words
from athanor.data.config import Filter
from athanor.data.filters.c4 import C4
from athanor.data.filters.verdict import KEPT, Verdict

C = TypeVar("C")
Rule = Callable[[Document], tuple[Document, Verdict, Counter[str]]]


def compat_rules(config: Filter) -> dict[str, Rule | None]:
    """The rules that `config` asks for, by name; None for one that is switched off.

    Raises ValueError where spaCy, tldextract or datatrove's lists are missing, before any work.
    """
    require_spacy()
    return {
        "url": _url_rule(config) if config.url else None,
        "gopher_repetition": _rule(gopher.judge_repetition, config.gopher_repetition),
        "gopher_quality": _rule(gopher.judge_quality, config.gopher_quality),
        "c4": _c4_rule(config.c4) if config.c4 else None,
        "fineweb": _rule(fineweb.judge, config.fineweb),
        "pii": _pii_rule(config.pii) if config.pii else None,
    }


def _rule(judge: Callable[[str, gopher.Words, C], Verdict], rule: C | None) -> Rule | None:
    if rule is None:
        return None
    return lambda document: (document, judge(document.text, split_words, rule), Counter())


def _url_rule(config: Filter) -> Rule:
    assert config.url
    lists = addresses.lists_of(config.url, *config.compat_lists[:1])
    return lambda document: (document, addresses.judge(document.url, lists), Counter())


def _c4_rule(rule: C4) -> Rule:
    c4.check(rule)

    def apply(document: Document) -> tuple[Document, Verdict, Counter[str]]:
        cleaned = c4.clean(document.text, rule)
        return replace(document, text=cleaned.text), cleaned.verdict, cleaned.lines_removed

    return apply


def _pii_rule(rule: pii.Pii) -> Rule:
    masker = Masker(emails=rule.emails, ips=rule.ipv4)

    def apply(document: Document) -> tuple[Document, Verdict, Counter[str]]:
        text = masker.mask(document.text)
        if not masker.found:
            return document, KEPT, Counter()
        metadata: dict[str, Any] = {**document.metadata, "pii": dict(sorted(masker.found.items()))}
        return replace(document, text=text, metadata=metadata), KEPT, masker.found

    return apply
