"""Fingerprints: what changes them and what must not."""

import toy_steps

from athanor.pipeline.step import Step, differences, in_order


def count_step(**fields: object) -> Step:
    return Step("numbers", "toy.count", "toy_steps:count", toy_steps.Count(**fields))


def test_the_fingerprint_is_the_same_in_every_process_and_release():
    # written down once: if this changes, every result of every user is computed again
    assert count_step().fingerprint == "df5a21d23781017e077f5f24cf6ec4aea9b33cc17af353244856bc430ca29650"


def test_runtime_fields_and_the_name_stay_out_of_the_fingerprint():
    assert count_step().fingerprint == count_step(seconds_each=9.0, log="elsewhere").fingerprint
    other = Step("renamed", "toy.count", "elsewhere:count", toy_steps.Count())
    assert other.fingerprint == count_step().fingerprint


def test_a_field_a_version_and_an_input_change_the_fingerprint():
    base = count_step()
    assert count_step(n=4).fingerprint != base.fingerprint
    assert Step("numbers", "toy.count", "", toy_steps.Count(), version=2).fingerprint != base.fingerprint
    totals = [Step("t", "toy.total", "", toy_steps.Total(), {"numbers": count_step(n=n)}).fingerprint for n in (3, 4)]
    assert totals[0] != totals[1]


def test_a_field_added_later_keeps_old_results_valid_at_its_declared_value():
    assert "scale" not in count_step().identity["config"]
    assert count_step(scale=2).identity["config"]["scale"] == 2


def test_steps_come_after_what_they_need():
    numbers = count_step()
    total = Step("total", "toy.total", "", toy_steps.Total(), {"numbers": numbers})
    assert [step.name for step in in_order({"total": total, "numbers": numbers})] == ["numbers", "total"]


def test_differences_name_the_path_of_every_changed_value():
    old = {"minhash": {"bands": 14, "rows": 8}, "exact": True}
    new = {"minhash": {"bands": 20, "rows": 8}, "lines": None}
    assert differences(old, new) == [
        "exact True -> (absent)",
        "lines (absent) -> None",
        "minhash.bands 14 -> 20",
    ]


def test_the_content_of_a_named_file_counts_and_its_place_does_not(tmp_path):
    from athanor.crawl.config import Crawl

    first, second = tmp_path / "a.warc", tmp_path / "b.warc"
    first.write_bytes(b"pages")
    second.write_bytes(b"pages")
    steps = [Step("crawl", "crawl", "", Crawl(warc=(str(path),))) for path in (first, second)]
    assert steps[0].fingerprint == steps[1].fingerprint
    second.write_bytes(b"other pages")
    assert Step("crawl", "crawl", "", Crawl(warc=(str(second),))).fingerprint != steps[0].fingerprint
