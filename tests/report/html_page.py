"""A page taken apart: tags with attributes, ids, links, and the text under each number's link."""

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Reads a whole page and fails on tags that do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.numbers: list[tuple[str, str]] = []
        """(text, address) of every number."""
        self.text = ""
        self._open: list[str] = []
        self._number: str | None = None
        self.feed(html)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
            if "number" in attributes.get("class", "").split():
                self._number = attributes["href"]
                self.numbers.append(("", self._number))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()
        if tag == "a":
            self._number = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._number is not None:
            text, address = self.numbers[-1]
            self.numbers[-1] = (text + data, address)
