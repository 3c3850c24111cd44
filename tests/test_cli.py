"""The command line as a person meets it."""

import os
import subprocess
import sys

import pytest

from athanor import cli


def test_help_lists_every_command_without_importing_torch_or_tyro():
    program = "import sys; from athanor import cli; cli.main(['--help']); print({'torch', 'tyro'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.rstrip().endswith("set()")
    for words in cli.commands():
        assert f"  {words} " in shown


@pytest.mark.parametrize("words", cli.commands())
def test_help_of_a_command_shows_every_field_with_its_text(words, capsys):
    import dataclasses

    command = cli.commands()[words]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for field in dataclasses.fields(cli.options_class(command)):
        name = {"settings": "set"}.get(field.name, field.name).replace("_", "-")
        assert f"--{name}" in shown or f"{name} options" in shown or field.name in ("config", "site", "common_crawl")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["rum"], "did you mean 'athanor run'?"),
        (["sfft"], "did you mean 'athanor posttrain sft'?"),
        (["compare"], "'athanor scaling compare' or 'athanor posttrain compare'; say which"),
        (["data", "dedupe"], "did you mean 'athanor data dedup'?"),
        (["crawl", "sites"], "did you mean 'athanor crawl site'?"),
        (["posttrain"], "athanor posttrain sft"),
    ],
)
def test_a_mistyped_command_gets_a_suggestion(typed, meant, capsys):
    assert cli.main(typed) == 2
    assert meant in capsys.readouterr().err


def test_a_mistyped_option_gets_a_suggestion(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--untill", "crawl"])
    assert ended.value.code == 2
    assert "--until" in capsys.readouterr().err


def test_a_mistaken_recipe_ends_in_one_clear_line(tmp_path, capsys):
    assert cli.main(["run", str(tmp_path / "none.yaml")]) == 2
    assert "no such recipe" in capsys.readouterr().err


def test_an_option_given_twice_is_refused_since_only_the_last_would_count(capsys):
    assert cli.main(["data", "read", "a.jsonl", "--paths", "b.jsonl", "--out", "read"]) == 2
    assert "--paths is given 2 times" in capsys.readouterr().err


def test_a_command_may_be_called_without_its_group_where_no_other_has_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["sft", "--help"])
    assert "usage: athanor posttrain sft" in capsys.readouterr().out


def test_a_closed_pager_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run([sys.executable, "-m", "athanor.cli", "--help"], stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
