"""Instruction data from crawled pages: a question about a documented name, its first paragraph as the answer.

In: the crawl's WARC files, and the documents of the mixture, which say what pages are trained on and which
are held out. Out: `sft.jsonl`, `preference.jsonl` and `gold.jsonl` from training pages, split by page, and
`test.jsonl` from held-out pages; `dropped.jsonl` lists every name left out and why.

No answer and no name stands in two files. Where pages are too few to split by page, the pairs are split
one by one and the metrics say so. Phrasings of the questions are in `phrasings.json`; which one a name
gets, and where it goes, follows from hashes, so that the same pages always give the same files.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from resiliparse.parse.html import HTMLTree

from athanor.core.artifact import WORK, read_json, write_json, write_jsonl
from athanor.core.console import warn
from athanor.core.documents import read_documents
from athanor.core.workers import map_shards
from athanor.data.charset import decoded
from athanor.data.pii import Pii, mask
from athanor.data.warc import read_pages, warc_files
from athanor.posttrain.config import Instructions
from athanor.posttrain.documented import Answer, documented_names
from athanor.posttrain.passages import passages
from athanor.posttrain.splits import CONVERSATION_SPLITS, TRAINING_SPLITS, deal, hashed, normalised

MIN_PAIRS = len(CONVERSATION_SPLITS)  # one for each file
PART_BYTES = 1 << 19  # of a compressed WARC file: a few seconds of work
MAX_PARTS = 16
DEFAULT_TEST_SHARE = 0.1  # of the pairs, where no page with pairs was held out

Pair = dict[str, Any]  # name, kind, answer, title, url, page


def run(config: Instructions, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write the four files of conversations; the counts of what was kept and dropped."""
    warcs = warc_files(inputs["pages"])
    if not warcs:
        raise ValueError(f"{inputs['pages']}: no WARC files to make instructions from")
    trained_on, held_out = (
        {document.url for document in read_documents(inputs["documents"] / part)} for part in ("train", "validation")
    )
    wanted = out / WORK / "wanted.json"
    write_json(wanted, wanted_pages(trained_on, held_out, config))
    read = partial(
        read_pairs, wanted=wanted, min_characters=config.min_characters, max_characters=config.max_characters
    )
    parts = parts_of(warcs, out / WORK / "parts")
    found = map_shards(read, parts, workers=config.workers, done=out / WORK / "pages", label="instructions")
    in_order = sorted((page for result in found for page in result), key=lambda page: page["place"])
    pages = {page["url"]: page for page in in_order}  # of a page fetched twice, the later one
    dropped = [row for _, page in sorted(pages.items()) for row in page["dropped"]]
    candidates = {
        "train": [pair for url, page in sorted(pages.items()) if url not in held_out for pair in page["pairs"]],
        "test": [pair for url, page in sorted(pages.items()) if url in held_out for pair in page["pairs"]],
    }
    train, test = distinct(candidates["train"], candidates["test"], config, dropped)
    splits, split_by = split(train, test, config)
    for name in CONVERSATION_SPLITS:
        write_jsonl(out / f"{name}.jsonl", [conversation(pair, config.seed) for pair in splits[name]])
    write_jsonl(out / "dropped.jsonl", dropped)
    kept = [pair for name in CONVERSATION_SPLITS for pair in splits[name]]
    return {
        "pages": len(pages),
        "pages_read": sum(page["read"] for page in pages.values()),
        "pages_outside_mixture": len(pages.keys() - trained_on - held_out),
        "pages_with_pairs": len({pair["page"] for pair in kept}),
        "pairs_found": sum(map(len, candidates.values())),
        "rows": {name: len(splits[name]) for name in CONVERSATION_SPLITS},
        "kinds": dict(sorted(Counter(pair["kind"] for pair in kept).items())),
        "dropped": dict(sorted(Counter(row["reason"] for row in dropped).items())),
        "split_by": split_by,
        "answer_characters": round(sum(len(pair["answer"]) for pair in kept) / len(kept), 1),
    }


def wanted_pages(trained_on: set[str], held_out: set[str], config: Instructions) -> list[str] | None:
    """URLs of the pages to read; None for all of the crawl."""
    if config.pages_outside_mixture == "train":
        return None
    in_order = sorted(trained_on - held_out, key=lambda url: hashed(config.seed, "read", url))
    return sorted(held_out) + in_order[: config.max_pages]


def parts_of(warcs: Sequence[Path], folder: Path) -> list[Path]:
    """Small files that each name a part of a WARC file's pages, so that one large file keeps several workers busy."""
    paths = []
    for number, warc in enumerate(warcs):
        num_parts = min(MAX_PARTS, 1 + warc.stat().st_size // PART_BYTES)
        for part in range(num_parts):
            path = folder / f"{number:05d}-{part:02d}.json"
            write_json(path, {"warc": str(warc.resolve()), "file": number, "part": part, "num_parts": num_parts})
            paths.append(path)
    return paths


def read_pairs(part: Path, wanted: Path, min_characters: int, max_characters: int) -> list[dict[str, Any]]:
    """For each HTML page of a part of a WARC file its URL, its place, the pairs on it and the names without one.

    Pages whose URL is not in the list `wanted`, where it holds one, are named but not read.
    """
    described, listed = read_json(part), read_json(wanted)
    urls = None if listed is None else set(listed)
    results = []
    for number, page in enumerate(read_pages(Path(described["warc"]))):
        if number % described["num_parts"] != described["part"]:
            continue
        if page.is_text or not page.content_type.endswith(("html", "xml")):
            continue
        pairs: list[Pair] = []
        dropped: list[dict[str, str]] = []
        read = urls is None or page.url in urls
        place = [described["file"], number]
        results.append({"url": page.url, "place": place, "read": read, "pairs": pairs, "dropped": dropped})
        if not read:
            continue
        text, _ = decoded(page.body, page.headers.get("content-type", ""))
        tree = HTMLTree.parse(text)
        for found in documented_names(passages(tree), tree.title or page.url, min_characters, max_characters):
            if isinstance(found, Answer):
                url = f"{page.url}#{found.anchor}" if found.anchor else page.url
                answer, _ = mask(found.answer, Pii())
                pair = {"name": found.name, "kind": found.kind, "answer": answer, "title": found.title}
                pairs.append(pair | {"url": url, "page": page.url})
            else:
                dropped.append({"name": found.name, "reason": found.reason, "page": page.url})
    return results


def distinct(
    train: Sequence[Pair], test: Sequence[Pair], config: Instructions, dropped: list[dict[str, str]]
) -> tuple[list[Pair], list[Pair]]:
    """The pairs with each answer and each name once, and none of the test's in training; adds to `dropped`."""
    names_of: dict[str, set[str]] = {}
    for pair in (*train, *test):
        names_of.setdefault(normalised(pair["answer"]), set()).add(pair["name"])
    boilerplate = {answer for answer, names in names_of.items() if len(names) > config.max_names_per_answer}
    seen_answers = {normalised(pair["answer"]) for pair in train}
    seen_names = {normalised(pair["name"]) for pair in train}
    kept_train = _first_of_each(train, boilerplate, dropped)
    unseen = []
    for pair in test:
        if normalised(pair["answer"]) in seen_answers:
            dropped.append(_drop(pair, "answer also on a training page"))
        elif normalised(pair["name"]) in seen_names:
            dropped.append(_drop(pair, "name also on a training page"))
        else:
            unseen.append(pair)
    return kept_train, _first_of_each(unseen, boilerplate, dropped)


def split(train: Sequence[Pair], test: Sequence[Pair], config: Instructions) -> tuple[dict[str, list[Pair]], str]:
    """The pairs of each file, and whether they were split by page or one by one.

    Raises ValueError where there are fewer pairs than files.
    """
    if len(train) + len(test) < MIN_PAIRS:
        raise ValueError(
            f"only {len(train) + len(test)} pairs of a name and an answer on all pages; at least {MIN_PAIRS} are "
            "needed. Crawl more pages, lower instructions.min_characters, or set pages_outside_mixture to train"
        )
    train = _smallest_hashes(train, config.max_pairs, config.seed)
    test = _smallest_hashes(test, config.max_test_pairs, config.seed)
    shares = {
        "sft": 1.0 - config.preference_share - config.gold_share,
        "preference": config.preference_share,
        "gold": config.gold_share,
    }
    by_page = deal(train, shares, config.seed, "page")
    if test and all(by_page[name] for name in TRAINING_SPLITS):
        return by_page | {"test": list(test)}, "page"
    warn("too few pages to split by page: pairs of one page stand in several files")
    everything = [*train, *test]
    test_share = len(test) / len(everything) or DEFAULT_TEST_SHARE
    shares = {name: share * (1 - test_share) for name, share in shares.items()} | {"test": test_share}
    by_pair = deal(everything, shares, config.seed, "name")
    return by_pair, "pair"


def conversation(pair: Pair, seed: int) -> dict[str, Any]:
    """One row of a file: the question in one of the phrasings for its kind, and the answer."""
    choices = phrasings()[pair["kind"]]
    question = choices[hashed(seed, "phrasing", pair["name"]) % len(choices)]
    question = question.replace("{name}", pair["name"]).replace("{title}", pair["title"])
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": pair["answer"]}]
    return {"messages": messages} | {key: pair[key] for key in ("name", "kind", "url", "page")}


@cache
def phrasings() -> dict[str, list[str]]:
    """Ways to ask about a name, by its kind; {name} and {title} are filled in."""
    text = files("athanor.posttrain").joinpath("phrasings.json").read_text(encoding="utf-8")
    loaded: dict[str, list[str]] = json.loads(text)
    return loaded


def _first_of_each(pairs: Sequence[Pair], boilerplate: set[str], dropped: list[dict[str, str]]) -> list[Pair]:
    """Of pairs with one answer the one with the shortest name; of pairs with one name the first by URL."""
    kept: list[Pair] = []
    answers: set[str] = set()
    names: set[str] = set()
    for pair in sorted(pairs, key=lambda pair: (len(pair["name"]), pair["name"], pair["url"])):
        answer, name = normalised(pair["answer"]), normalised(pair["name"])
        if answer in boilerplate:
            dropped.append(_drop(pair, "an answer given for many names"))
        elif answer in answers:
            dropped.append(_drop(pair, "the answer of another name"))
        elif name in names:
            dropped.append(_drop(pair, "the name again"))
        else:
            kept.append(pair)
            answers.add(answer)
            names.add(name)
    return kept


def _smallest_hashes(pairs: Sequence[Pair], at_most: int, seed: int) -> list[Pair]:
    return sorted(pairs, key=lambda pair: hashed(seed, "keep", pair["name"]))[:at_most]


def _drop(pair: Pair, reason: str) -> dict[str, str]:
    return {"name": pair["name"], "reason": reason, "page": pair["page"]}
