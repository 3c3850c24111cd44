"""A table of runs is checked before anything is fitted, and an error says which line and what to do."""

import re
from pathlib import Path

import numpy as np
import pytest

from athanor.scaling.config import Table
from athanor.scaling.runs import read_runs

HEADER = "parameters,tokens,flops,loss,convention"
GOOD = ["1e6,2e7,1.2e14,5.0,all", "2e6,4e7,4.8e14,4.5,all", "4e6,8e7,1.92e15,4.1,all", "8e6,1.6e8,7.68e15,3.8,all"]


def table(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    path = folder / "runs.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def message(path: Path, **options: object) -> str:
    with pytest.raises(ValueError) as told:
        read_runs(path, Table(**options))  # type: ignore[arg-type]
    return str(told.value)


def test_a_good_table_is_read_with_its_lines(tmp_path: Path) -> None:
    runs = read_runs(table(tmp_path, GOOD), Table())
    assert runs.convention == "all" and runs.lines.tolist() == [2, 3, 4, 5]
    assert runs.parameters.tolist() == [1e6, 2e6, 4e6, 8e6] and runs.notes == ()


def test_missing_columns_are_named_with_the_option_that_maps_them(tmp_path: Path) -> None:
    told = message(table(tmp_path, ["1,2,3"], "size,data,loss"), convention="all")
    assert (
        "no column 'parameters', 'tokens'" in told
        and "--columns parameters THEIR_NAME" in told
        and "size, data, loss" in told
    )


def test_the_usual_letters_of_published_tables_are_read_and_noted(tmp_path: Path) -> None:
    path = table(tmp_path, ["1e6,2e7,1.2e14,5.0", "2e6,4e7,4.8e14,4.5"], "N,D,C,loss")
    runs = read_runs(path, Table(convention="all"))
    assert runs.parameters.tolist() == [1e6, 2e6] and runs.flops.tolist() == [1.2e14, 4.8e14]
    assert runs.notes == ("columns read by their usual names: N as parameters, D as tokens, C as flops",)
    both = table(tmp_path, ["1e6,2e6,2e7,5.0"], "N,params,D,loss")
    assert "no column 'parameters'" in message(both, convention="all")  # two candidates: not guessed
    assert read_runs(both, Table(convention="all", columns={"parameters": "N"})).parameters.tolist() == [1e6]


def test_the_convention_of_counting_parameters_is_never_guessed(tmp_path: Path) -> None:
    path = table(tmp_path, ["1e6,2e7,5.0", "2e6,2e7,4.9"], "parameters,tokens,loss")
    assert "--convention" in message(path)
    assert read_runs(path, Table(convention="matmul")).convention == "matmul"
    mixed = table(tmp_path, [GOOD[0], GOOD[1].replace("all", "matmul")])
    assert "line 2: all; line 3: matmul" in message(mixed)
    assert len(read_runs(mixed, Table(where={"convention": "all"}))) == 1
    assert "contradicts the column" in message(mixed, convention="all")  # the option does not hide a mixture
    assert "line 3: 'total'" in message(table(tmp_path, [GOOD[0], GOOD[1].replace("all", "total")]))


@pytest.mark.parametrize("cell", ["nan", "", "0", "-3.1", "inf"])
def test_values_without_a_logarithm_are_named_and_left_out_only_on_request(tmp_path: Path, cell: str) -> None:
    path = table(tmp_path, [*GOOD, f"1e7,2e8,1.2e16,{cell},all"])
    assert "'loss'" in (told := message(path)) and "line 6" in told and "--skip-bad" in told
    runs = read_runs(path, Table(skip_bad=True))
    assert len(runs) == 4 and "1 of 5 runs left out" in runs.notes[0]


def test_text_where_a_number_belongs_is_named(tmp_path: Path) -> None:
    told = message(table(tmp_path, [*GOOD, "7B,2e8,1.2e16,3.5,all"]))
    assert "line 6: '7B'" in told and "'parameters'" in told


@pytest.mark.parametrize(
    ("column", "factor", "unit"), [(0, 1e-6, "millions"), (1, 1e-9, "billions"), (2, 1 / 8.64e19, "PFLOP")]
)
def test_a_table_in_other_units_is_refused_with_the_likely_unit(
    tmp_path: Path, column: int, factor: float, unit: str
) -> None:
    rows = [line.split(",") for line in GOOD]
    for row in rows:
        row[column] = repr(float(row[column]) * factor)
    told = message(table(tmp_path, [",".join(row) for row in rows]))
    assert unit in told and "Line 2" in told and "--any-flops" in told


def test_one_line_in_other_units_is_found_among_good_ones(tmp_path: Path) -> None:
    bad = "16,3.2e8,3.072e16,3.6,all"  # parameters in millions
    assert re.search(r"line 6: flops / 6ND = 1e\+06", message(table(tmp_path, [*GOOD, bad])))
    assert "line 6" in message(table(tmp_path, [*GOOD, "1.6e7,3.2e8,1.536e16,3.6,all"]))  # compute of half the run


def test_flops_that_count_attention_are_a_note_and_no_error(tmp_path: Path) -> None:
    rows = [line.split(",") for line in GOOD]
    for row, factor in zip(rows, (2.2, 1.9, 1.7, 1.5), strict=True):
        row[2] = repr(float(row[2]) * factor)
    runs = read_runs(table(tmp_path, [",".join(row) for row in rows]), Table())
    assert "times 6ND" in runs.notes[0]


def test_the_same_run_twice_is_refused_and_seeds_tell_runs_apart(tmp_path: Path) -> None:
    path = table(tmp_path, [*GOOD, GOOD[1]])
    assert "line 6 repeats line 3" in message(path)
    assert len(read_runs(path, Table(keep_duplicates=True))) == 5
    seeded = table(tmp_path, [f"{line},0" for line in GOOD] + [f"{GOOD[1]},1"], HEADER + ",seed")
    assert len(read_runs(seeded, Table())) == 5


def test_without_flops_compute_is_six_n_d_and_a_note_says_so(tmp_path: Path) -> None:
    runs = read_runs(
        table(tmp_path, ["1e6,2e7,5.0,all", "2e6,2e7,4.9,all"], "parameters,tokens,loss,convention"), Table()
    )
    assert runs.flops.tolist() == [6 * 1e6 * 2e7, 6 * 2e6 * 2e7] and "no flops" in runs.notes[0]


def test_without_tokens_they_follow_from_flops_and_a_note_says_so(tmp_path: Path) -> None:
    path = table(tmp_path, ["1e6,1.2e14,5.0", "2e6,4.8e14,4.9"], "Model Size,Training FLOP,loss")
    columns = {"parameters": "Model Size", "flops": "Training FLOP"}
    runs = read_runs(path, Table(columns=columns, convention="all"))
    assert runs.tokens == pytest.approx([2e7, 4e7]) and "no tokens" in runs.notes[0]


def test_further_columns_are_kept_as_numbers_or_words(tmp_path: Path) -> None:
    path = table(tmp_path, [f"{line},{i},x{i}" for i, line in enumerate(GOOD)], HEADER + ",warmup,dataset")
    runs = read_runs(path, Table())
    assert runs.more["warmup"].tolist() == [0, 1, 2, 3] and list(runs.words["dataset"]) == ["x0", "x1", "x2", "x3"]
    part = runs.subset(np.array([False, True, False, True]))
    assert part.lines.tolist() == [3, 5] and list(part.words["dataset"]) == ["x1", "x3"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no runs"),
        ("parameters,tokens\n", "no runs"),
        ("a,a\n1,2\n", "twice"),
        ("parameters,tokens,loss\n1,2\n", "line 2"),
    ],
)
def test_what_is_no_table_is_said_to_be_none(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    assert told in message(path)


def test_perplexity_in_the_place_of_loss_is_noted(tmp_path: Path) -> None:
    rows = ["1e6,2e7,150,all", "2e6,2e7,120,all", "4e6,2e7,100,all"]
    runs = read_runs(table(tmp_path, rows, "parameters,tokens,loss,convention"), Table())
    assert any("perplexity" in note for note in runs.notes)
