"""Finding the model: a folder, a run, or an error that says what is there."""

import os

import pytest

from athanor.core.artifact import write_json
from athanor.serve.find import NEEDED, find_model, model_name


def make_model(folder):
    folder.mkdir(parents=True)
    for name in NEEDED:
        (folder / name).write_text("{}")
    return folder


def make_run(folder):
    make_model(folder / "sft-1a2b")
    make_model(folder / "dpo-3c4d")
    write_json(folder / "published.json", {"chat": "dpo-3c4d"})
    return folder


def test_a_model_folder_is_itself_and_a_run_gives_what_it_published(tmp_path):
    run = make_run(tmp_path / "runs" / "quickstart")
    assert find_model(run) == run / "dpo-3c4d"
    assert find_model(run / "sft-1a2b") == run / "sft-1a2b"
    assert find_model(str(run)) == run / "dpo-3c4d"
    assert model_name(run) == "quickstart"
    assert model_name(run / "sft-1a2b") == "sft-1a2b"


def test_without_a_path_the_newest_run_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no finished run"):
        find_model()
    for age, name in ((100, "old"), (0, "new")):
        published = make_run(tmp_path / "runs" / name) / "published.json"
        moment = published.stat().st_mtime - age
        os.utime(published, (moment, moment))
    assert find_model().parent.name == "new"
    assert model_name(None) == "new"


def test_errors_say_what_is_there(tmp_path):
    run = make_run(tmp_path / "runs" / "quickstart")
    with pytest.raises(ValueError, match=r"does not exist; finished runs in .*runs: quickstart"):
        find_model(tmp_path / "runs" / "quikstart")
    (run / "dpo-3c4d" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"names dpo-3c4d, where model.safetensors is missing"):
        find_model(run)
    with pytest.raises(ValueError, match=r"model.safetensors missing .*not finished"):
        find_model(run / "dpo-3c4d")
    (run / "published.json").unlink()
    with pytest.raises(ValueError, match=r"not finished\); models in it: sft-1a2b"):
        find_model(run)
    with pytest.raises(ValueError, match="is a file"):
        find_model(run / "sft-1a2b" / "config.json")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").touch()
    with pytest.raises(ValueError, match=r"neither a model folder .* it holds cat.png"):
        find_model(tmp_path / "pictures")


def test_a_broken_published_file_is_named(tmp_path):
    run = make_run(tmp_path / "run")
    write_json(run / "published.json", ["dpo"])
    with pytest.raises(ValueError, match=r"published.json: no entry 'chat'"):
        find_model(run)
