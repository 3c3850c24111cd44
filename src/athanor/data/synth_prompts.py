"""How a document can be rewritten: the styles at hand, and prompts of one's own.

The styles are those of WRAP (Maini et al. 2024: encyclopedia, questions and answers), a textbook and a summary. A
prompt of one's own is a text file with `{text}` where the document goes; its name is the file's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PLACE = "{text}"
SYSTEM = "You rewrite texts. Answer with the rewritten text alone: no introduction, no remarks, no apologies."

STYLES = {
    "wikipedia": (
        "Rewrite the text below as a passage of an encyclopedia: plain, precise, neutral sentences in the language of "
        "the text. Keep every fact and every number, add none, and leave out advertising and navigation.\n\n{text}"
    ),
    "textbook": (
        "Write the section of a textbook that teaches what the text below says, in its language. Introduce terms "
        "before they are used, go step by step, give an example where the text supports one, and claim nothing that "
        "the text does not say.\n\n{text}"
    ),
    "questions": (
        "Turn the text below into questions and answers in its language. Each line begins with 'Question:' or "
        "'Answer:'. Cover all facts of the text; answers are whole sentences that can be understood alone and say "
        "nothing that the text does not.\n\n{text}"
    ),
    "summary": (
        "Summarise the text below in its language, in one to three paragraphs: what it is about, what it claims, and "
        "on what grounds. Add nothing.\n\n{text}"
    ),
}


@dataclass(frozen=True)
class Prompt:
    """One way to rewrite a document."""

    name: str
    template: str

    @property
    def sha256(self) -> str:
        """What identifies the wording."""
        return hashlib.sha256(f"{SYSTEM}\n{self.template}".encode()).hexdigest()

    def messages(self, text: str) -> list[dict[str, str]]:
        """The messages that ask for `text` rewritten."""
        content = self.template.replace(PLACE, text)
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]


def prompts_of(styles: Sequence[str], files: Sequence[Path]) -> list[Prompt]:
    """The prompts asked for; raises ValueError for a file without a place for the text, or names that clash."""
    prompts = [Prompt(name, STYLES[name]) for name in styles]
    for path in files:
        template = path.read_text(encoding="utf-8")
        if PLACE not in template:
            raise ValueError(f"{path}: no {PLACE} in it, which marks where the document goes")
        prompts.append(Prompt(path.stem, template))
    names = [prompt.name for prompt in prompts]
    if not prompts or len(set(names)) < len(names):
        raise ValueError(f"give at least one style or prompt file, each of another name; found {names}")
    return prompts
