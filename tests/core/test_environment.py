"""What is recorded about a run, and what never is."""

from athanor.core import environment


def test_secrets_on_the_command_line_are_masked():
    argv = ["athanor", "serve", "--token", "s3cret", "--api-key=abc", "--set", "sft.max_new_tokens=5"]
    assert environment.without_secrets(argv) == [*argv[:3], "***", "--api-key=***", *argv[5:]]


def test_versions_and_machine_are_named():
    assert environment.library_versions()["python"].count(".") == 2
    assert "pytest" in environment.library_versions()
    assert environment.device()["cores"] >= 1
    assert environment.code_version()["version"]
    assert environment.peak_memory_bytes() > 10_000_000
