"""Walks over a parsed page and changes to it, in time proportional to the page.

The parser's lists of query results are live: each place is looked up by a query of its own, so going through one
takes time quadratic in its length, minutes on a page with some thousand formulas. These functions do not use them.
"""

from collections.abc import Callable, Iterator

from resiliparse.parse.html import ElementNode, HTMLTree, Node


def walk(tree: HTMLTree, visit: Callable[[ElementNode], bool]) -> None:
    """Call `visit` for every element in the order of the page; where it returns true, not for those inside.

    `visit` may change or remove the element and what is inside it.
    """
    first = tree.document.first_element_child if tree.document is not None else None
    waiting = [first] if first is not None else []
    while waiting:
        element = waiting.pop()
        sibling = element.next_element_sibling
        if sibling is not None:
            waiting.append(sibling)
        if not visit(element):
            child = element.first_element_child
            if child is not None:
                waiting.append(child)


def children(node: Node) -> Iterator[ElementNode]:
    """The elements directly inside `node`."""
    child = node.first_element_child if isinstance(node, ElementNode) else None
    while child is not None:
        yield child
        child = child.next_element_sibling


def remove_all(tree: HTMLTree, selector: str) -> None:
    """Take every element that `selector` matches out of `tree`; raises ValueError for a selector that is none."""
    while tree.document is not None and (element := tree.document.query_selector(selector)) is not None:
        if element.parent_node is None:
            return
        element.remove()


def text_node(tree: HTMLTree, text: str) -> Node:
    """A new piece of text for `tree`."""
    node = tree.create_text_node(text)
    assert node is not None
    return node
