"""The report loads nothing, runs nothing, links every number, escapes every text and survives missing steps."""

import re
import shutil
from pathlib import Path

import pytest
from fake_run import FakeRun
from html_page import Page

from athanor.core.artifact import write_jsonl, write_text
from athanor.report.config import Report
from athanor.report.page import CHAPTERS, run

HOSTILE = "<script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>\" onclick=\"alert(2)"


def report_on(folders: dict[str, Path], out: Path) -> str:
    out.mkdir(exist_ok=True)
    run(Report(), folders, out)
    return (out / "report.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(page: str) -> None:
    read = Page(page)
    names = {tag for tag, _ in read.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "img", "audio", "video", "base", "form"}
    for tag, attributes in read.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
                assert value.startswith("#"), (tag, name, value)
            if name == "style":
                assert "url(" not in value
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(styles) == 1
    assert not re.findall(r"url\((?!#)|@import|@font-face", styles[0])


def test_every_internal_link_has_its_target_and_ids_are_unique(page: str) -> None:
    read = Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert {link[1:] for link in read.links} <= set(read.ids)


def test_every_step_has_its_box_its_place_and_its_manifest(page: str, folders: dict[str, Path]) -> None:
    read = Page(page)
    for name in folders:
        assert {f"step-{name}", f"manifest-{name}"} <= set(read.ids)
        assert f"#step-{name}" in read.links
    for chapter in CHAPTERS:
        assert (chapter.id in read.ids) != chapter.optional


def test_numbers_lead_to_the_manifest_of_the_step_that_made_them(page: str) -> None:
    numbers = Page(page).numbers
    for text, step in (
        ("3,124", "crawl"),
        ("0.913", "language_model"),
        ("1.312", "language_model"),
        ("1.094", "language_model"),
        ("5.8M", "pretrain"),
        ("402", "filter"),
        ("301", "dedup"),
        ("4,096", "tokenizer"),
        ("2.310", "responses"),
        ("2.220 to 2.410", "responses"),
        ("97%", "responses"),
        ("86.1%", "reward_model"),
        ("61.2%", "gold_reward_model"),
        ("63.0%", "win_rates"),
        ("59.0%", "win_rates"),
        ("4m41s", "pretrain"),
    ):
        assert (text, f"#manifest-{step}") in numbers, (text, step)


def test_no_number_of_a_table_stands_without_a_link(page: str) -> None:
    manifests = page.index('id="manifests"')
    cells = re.findall(r'<td class="right">(.*?)</td>', page[:manifests])
    assert len(cells) > 60
    plain = [cell for cell in cells if "<a " not in cell and "missing" not in cell]
    # Only shares of a linked count, starts and files of a step, and steps of a curve whose numbers are linked.
    assert all(re.fullmatch(r"[\d.,]+%?", cell) for cell in plain), plain


def test_hostile_text_is_shown_and_never_run(tmp_path: Path, folders: dict[str, Path]) -> None:
    root = tmp_path / "run"
    shutil.copytree(folders["crawl"].parent, root)
    moved = {name: root / folder.name for name, folder in folders.items()}
    sample = {"prompt": HOSTILE, "documented": HOSTILE, "sft": HOSTILE, HOSTILE: HOSTILE}
    write_jsonl(moved["responses"] / "samples.jsonl", [sample] * 3)
    write_jsonl(moved["pretrain"] / "samples.jsonl", [{"step": 1, "prompt": HOSTILE, "completion": HOSTILE}])
    write_jsonl(moved["compare"] / "curve.jsonl", [{"method": HOSTILE, "step": HOSTILE, "kl": 1, "gold_reward": 2}])
    evil = FakeRun(root)
    evil.finish("crawl", "crawl", {"pages": 3, "skipped": {HOSTILE: 4}}, config={"about": HOSTILE})
    evil.finish("win_rates", "arena.win_rate", {"judge": HOSTILE, "win_rates": [{"model": HOSTILE, "win_rate": 0.5}]})
    evil.finish(HOSTILE.replace("/", ""), HOSTILE, {HOSTILE: HOSTILE})
    html = report_on(moved | evil.folders, tmp_path / "out")
    read = Page(html)
    names = [tag for tag, _ in read.tags]
    assert "script" not in names
    assert "img" not in names
    assert all(not name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert "<script>alert('x')</script>" in read.text  # shown as it is
    assert {link[1:] for link in read.links} <= set(read.ids)


def test_secrets_are_masked(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path)
    config = {"api_key": "sk-123", "nested": {"hf_token": "hf_456"}, "max_new_tokens": 77}
    fake.finish("crawl", "crawl", {"pages": 1}, config=config, argv=["athanor", "--url", "https://me:pw789@host/x"])
    html = report_on(fake.folders, tmp_path / "out")
    for secret in ("sk-123", "hf_456", "pw789"):
        assert secret not in html
    assert "77" in html


@pytest.mark.parametrize("missing", ["crawl", "pretrain", "responses", "compare", "win_rates"])
def test_a_missing_step_is_named_and_the_rest_is_told(folders: dict[str, Path], tmp_path: Path, missing: str) -> None:
    kept = {name: folder for name, folder in folders.items() if name != missing}
    read = Page(report_on(kept | {missing: tmp_path / "gone"}, tmp_path / "out"))
    assert f"{missing}: not finished, or its folder is gone" in read.text
    assert {link[1:] for link in read.links} <= set(read.ids)
    assert "Not in this run" in read.text or missing in ("responses",)


def test_no_step_at_all_still_gives_a_page_and_says_how_to_name_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = Page(report_on({}, tmp_path / "out"))
    assert "--inputs NAME=FOLDER" in capsys.readouterr().err
    assert "No step of this run is finished yet" in read.text
    assert {link[1:] for link in read.links} <= set(read.ids)


def test_a_run_stopped_after_any_step_gives_a_page(folders: dict[str, Path], tmp_path: Path) -> None:
    for count in range(1, len(folders)):
        read = Page(report_on(dict(list(folders.items())[:count]), tmp_path / "out"))
        assert {link[1:] for link in read.links} <= set(read.ids)


def test_damaged_files_cost_their_chapter_and_no_more(folders: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(folders["crawl"].parent, root)
    moved = {name: root / folder.name for name, folder in folders.items()}
    write_text(moved["pretrain"] / "metrics.jsonl", '{"step": 1, "loss": 3.0}\n{"step": 2, "lo')
    write_text(moved["tokenizer"] / "sample.json", '{"steps": [{"tokens": 4}, 7]}')
    write_text(moved["dedup"] / "removed" / "00000.parquet", "not parquet")
    write_text(moved["sft"] / "manifest.json", "{}")
    (moved["compare"] / "curve.jsonl").unlink()
    fake = FakeRun(root)
    fake.finish("language_model", "evaluation.language_model", {"bits_per_byte": "many", "beaten": 3, "best": [1]})
    read = Page(report_on(moved, tmp_path / "out"))
    for told in ("metrics.jsonl could not be read", "removed/ could not be read", "curve.jsonl is missing", "sft: its"):
        assert told in read.text
    assert "From language model to assistant" in read.text
    assert {link[1:] for link in read.links} <= set(read.ids)


def test_a_model_that_does_not_beat_its_baselines_is_said_so(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path)
    fake.finish("pretrain", "train.pretrain", {"parameters": 1000})
    fake.finish(
        "language_model",
        "evaluation.language_model",
        {"bits_per_byte": {"model": 2.0, "ngram": 1.9, "xz": 2.2}, "beaten": {"ngram": False, "xz": True}},
        {"model": "pretrain"},
    )
    text = " ".join(Page(report_on(fake.folders, tmp_path / "out")).text.split())
    assert "2.000 bits per byte: fewer than xz, but it does not beat an n-gram model" in text
    assert "Does not beat" in text


def test_the_rule_by_length_is_the_better_of_longer_and_shorter(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path)
    metrics = {"accuracy": 0.56, "length_rule_accuracy": 0.35, "held_out_pairs": 48}
    fake.finish("reward_model", "posttrain.reward_model", metrics)
    text = Page(report_on(fake.folders, tmp_path / "out")).text
    assert "65.0% (shorter)" in text
    assert "reward_model does not beat the rule “the shorter answer is better”" in text


def test_the_same_run_gives_the_same_bytes(folders: dict[str, Path], tmp_path: Path) -> None:
    assert report_on(folders, tmp_path / "a") == report_on(folders, tmp_path / "b")
