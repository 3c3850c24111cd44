"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest

from athanor import reference
from athanor.core.documents import COLUMNS, REMOVED_COLUMNS
from athanor.pipeline.stages import STAGES

REPOSITORY = Path(__file__).resolve().parent.parent


def test_the_readme_shows_the_stages_of_the_table():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert reference.with_tree(text) == text, "run python -m athanor.reference"


def test_the_reference_of_commands_is_what_help_says():
    written = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference.command_reference(), "run python -m athanor.reference"


def test_every_field_of_every_command_has_a_text():
    for line in reference.command_reference().splitlines():
        if line.startswith("- `") and not line.endswith("`") and ": " not in line:
            # a nested config explains itself in the lines below it
            name = re.match(r"- `([\w.]+)`", line)
            assert name, line
            assert f"- `{name[1]}." in reference.command_reference(), line


def test_the_formats_page_names_every_column():
    text = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    for column in (*COLUMNS, *REMOVED_COLUMNS):
        assert f"`{column}`" in text


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_every_stage_has_a_page_in_the_tour(stage):
    tour = (REPOSITORY / "docs" / "00-tour.md").read_text(encoding="utf-8")
    assert f"**{stage}**" in tour


def test_links_between_pages_lead_somewhere():
    for page in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *REPOSITORY.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(REPOSITORY)} links to {target}"
