import os
import re

import pytest

from athanor.tokenizer.config import Show
from athanor.tokenizer.places import find_tokenizer
from athanor.tokenizer.show import main, show


def test_show_names_tokens_ids_and_their_number(tokenizer):
    ids = tokenizer.encode("the class\n")
    plain = show(tokenizer, "the class\n", color=False).splitlines()
    assert plain == ["the| class|⏎", " ".join(map(str, ids)), "3 tokens, 10 bytes, 3.33 bytes per token"]
    coloured = show(tokenizer, "the class\n")
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines() == ["the class⏎", *plain[1:]]


def test_nothing_is_shown_as_nothing(tokenizer):
    assert show(tokenizer, "", color=False) == "\n\n0 tokens, 0 bytes"


def test_show_prints_no_control_characters_of_the_text(tokenizer):
    assert "\x1b[2J" not in show(tokenizer, "a\x1b[2Jb")


def test_the_command_prints_tokens_and_merges(tokenizer, tmp_path, capsys):
    tokenizer.save(tmp_path)
    main(Show("the class", tokenizer=str(tmp_path), merges=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[-1] == "t|h|e| |c|l|a|s|s"
    assert lines[-4].split("  ")[-1] == lines[-3] == "the| class"
    assert lines[-1].startswith("2 tokens, 9 bytes")


def test_the_newest_tokenizer_of_a_run_is_found(tokenizer, tmp_path, monkeypatch):
    for age, name in enumerate(("tokenizer-aa", "tokenizer-bb", "sft-cc")):
        tokenizer.save(tmp_path / "runs" / "quickstart" / name)
        os.utime(tmp_path / "runs" / "quickstart" / name / "tokenizer.json", (1000 - age, 1000 - age))
    monkeypatch.chdir(tmp_path)
    assert find_tokenizer(None).name == "tokenizer-aa"
    assert find_tokenizer("runs/quickstart").name == "tokenizer-aa"
    assert find_tokenizer("runs/quickstart/sft-cc").name == "sft-cc"
    with pytest.raises(ValueError, match="no folder elsewhere; name a folder with --tokenizer"):
        find_tokenizer("elsewhere")
