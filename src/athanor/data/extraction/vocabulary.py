"""The words of markup that extraction knows: names of tags, and what words in class names say of a part of a page.

Everything is compared by a 64-bit FNV-1a hash, so that kernels work on bytes. The hints are what makers of pages often
write (readability-style lists, Lab Arc90 2009), with pairs for words that say little alone. `article-body` counts
as the words `article`, `body` and the pair `article body`; `RelatedPosts` as `related`, `posts` and their pair.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Values = NDArray[np.int64]

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits

# Tags. Ids up to LAST_DROPPED are never text; from FIRST_BLOCK on they stand on lines of their own.
_RAW = "script style xmp iframe noembed noframes plaintext"  # their content is not parsed as markup
_DROPPED = (
    "head title template noscript object embed svg canvas audio video map math textarea select button input datalist "
    "dialog"
)
_INLINE = (
    "a b i em strong span code tt kbd samp var sup sub small big u s q cite abbr font label img br wbr time mark ins "
    "del ruby rt rp picture source"
)
_BLOCK = (
    "html body article main section div p h1 h2 h3 h4 h5 h6 ul ol li dl dt dd blockquote pre table thead tbody tfoot "
    "tr td th caption figure figcaption header footer nav aside form fieldset legend address details summary center hr "
    "hgroup menu dir colgroup col"
)
TAGS = tuple(f"{_RAW} {_DROPPED} {_INLINE} {_BLOCK}".split())
TAG = {name: number for number, name in enumerate(TAGS, start=1)}
"""Number of each known tag; 0 is any other."""
VOID_WRITTEN = "input img br wbr source hr col embed area base link meta param track keygen frame basefont bgsound"
VOID = tuple(VOID_WRITTEN.split())
# Kernels get these numbers as arguments, because numba does not notice when a constant of another file changes.


class Tags(NamedTuple):
    """Numbers of the tags that kernels treat in a way of their own."""

    last_raw: int = TAG["plaintext"]
    last_dropped: int = TAG["dialog"]
    first_block: int = TAG["html"]
    html: int = TAG["html"]
    body: int = TAG["body"]
    a: int = TAG["a"]
    br: int = TAG["br"]
    hr: int = TAG["hr"]
    ul: int = TAG["ul"]
    ol: int = TAG["ol"]
    menu: int = TAG["menu"]
    dir: int = TAG["dir"]
    li: int = TAG["li"]
    pre: int = TAG["pre"]
    table: int = TAG["table"]
    tr: int = TAG["tr"]
    td: int = TAG["td"]
    th: int = TAG["th"]


class Hints(NamedTuple):
    """What an element says of itself in its class, id, role, itemprop and href; one bit each."""

    body: int = 1 << 0
    """The text of an article."""
    boilerplate: int = 1 << 2
    """Ways through the site."""
    comments: int = 1 << 3
    caption: int = 1 << 4
    byline: int = 1 << 5
    """Who and when."""
    hidden: int = 1 << 6
    widget: int = 1 << 8
    """What is inserted: related pages, buttons to share, advertisements."""
    article_body: int = 1 << 9
    """schema.org's articleBody."""
    link: int = 1 << 10


class Attributes(NamedTuple):
    """Numbers of the attributes that are looked at."""

    class_: int = 1
    id: int = 2
    role: int = 3
    itemprop: int = 4
    hidden: int = 5
    aria_hidden: int = 6
    style: int = 7
    href: int = 8


TAG_NUMBERS, HINTS, ATTRIBUTES = Tags(), Hints(), Attributes()

HINT_WORDS: dict[int, str] = {
    HINTS.body: (
        "article body, articlebody, article content, article text, article copy, story body, story content, story "
        "text, storybody, storytext, post body, post content, post text, postbody, postcontent, entry content, "
        "entry body, entrycontent, entry text, content body, body content, body copy, bodytext, body text, news "
        "text, news body, news content, single content, blog content, blog body, rich text, richtext, mw parser, mw "
        "content, markdown body, rst content, field body, page content, main content, maincontent, text content, "
        "article inner, article detail, articlecontent, article main, td post content, theme doc, documentwrapper"
    ),
    HINTS.boilerplate: (
        "nav, navbar, navigation, navi, menu, menus, submenu, megamenu, sidebar, side bar, sidenav, footer, foot, "
        "masthead, topbar, breadcrumb, breadcrumbs, crumbs, toolbar, pagination, pager, paging, prev next, skip "
        "link, skiplink, site header, page header nav, site footer, page footer, global header, header nav, lang "
        "switcher, language selector, site nav, rightcol, right rail, rail, right column, sphinxsidebar, "
        "headerlink, toc, table of contents, tableofcontents"
    ),
    HINTS.widget: (
        "share, sharing, shares, sharebar, sharedaddy, addthis, addtoany, social, socials, related, relateds, "
        "recommended, recommendation, recommendations, recirc, recirculation, outbrain, taboola, promo, promos, "
        "promoted, promotion, newsletter, newsletters, subscribe, subscription, signup, sign up, ad, ads, advert, "
        "adverts, advertisement, advertisements, advertising, adsense, dfp, sponsor, sponsored, sponsors, cookie, "
        "cookies, consent, gdpr, popup, modal, overlay, lightbox, widget, widgets, trending, popular, most read, "
        "mostread, most viewed, most popular, read more, readmore, read next, up next, more stories, more news, "
        "more from, more on, also like, you may, latest news, latest posts, top stories, tags, tag list, taglist, "
        "post tags, article tags, keywords, topics, teaser, teasers, feedback, rating, ratings, login, follow, "
        "followus, follow us, donate, paywall, piano, author box, author bio, authorbox, about author, author info, "
        "bio, infobox promo, jp post flow, jp relatedposts, wp polls, poll, quiz, toolbox, print link, carousel, "
        "slideshow, gallery, survey, alert, alerts, disclaimer, copyright, inline promo, pullquote, pull quote, "
        "call to action, cta, app download, linkbox, contextual links, story links, see also links, post "
        "navigation, nav links, navbox, catlinks, download app, hidden print, notice"
    ),
    HINTS.comments: (
        "comment, comments, commentlist, comment list, disqus, disqus thread, discussion comments, respond, "
        "reactions, livefyre, fb comments, replies comments, responses"
    ),
    HINTS.caption: (
        "caption, captions, credit, credits, figcaption, imgcaption, image caption, photo caption, photo credit, "
        "photographer, image credit, wp caption, media caption, cutline, copyright holder"
    ),
    HINTS.byline: (
        "byline, by line, author, authors, dateline, timestamp, time stamp, pubdate, publish date, published, "
        "posted on, posted by, post date, post meta, postmeta, entry meta, entrymeta, article meta, meta data, "
        "metadata, meta info, article date, article info, post info, date, dates, updated, last modified, post "
        "author, article author, kicker, eyebrow, article header, post header, entry header, read time, reading "
        "time"
    ),
    HINTS.hidden: (
        "sr only, sronly, visually hidden, visuallyhidden, screen reader, screenreader, a11y hidden, assistive "
        "text, noprint, no print, printfooter, mw editsection, editsection, mw jump, headerlink, anchorjs link, "
        "hash link, katex html, mjx assistive, copybtn, copy button, lineno, linenos, linenumber, linenumbers, line "
        "numbers rows, linenodiv, gutter, hljs ln numbers, blob num, lnt, rouge gutter, line number"
    ),
}
ROLES = {
    HINTS.boilerplate: "navigation,banner,contentinfo,complementary,search,menu,menubar,toolbar,tablist",
    HINTS.widget: "dialog,alertdialog",
}


def hashed(word: str) -> int:
    """FNV-1a of the bytes of a word.

    >>> hex(hashed("a"))
    '0xaf63dc4c8601ec8c'
    """
    value = FNV_OFFSET
    for byte in word.encode():
        value = (value ^ byte) * FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value


def pair(first: int, second: int) -> int:
    """The hash of two words that follow each other."""
    return (first * FNV_PRIME & 0xFFFFFFFFFFFFFFFF) ^ second


def table(entries: dict[int, int]) -> tuple[Hashes, Values]:
    """Hashes and values in open addressing, at most half full; the place of a hash is its lowest bits, 0 is free."""
    size = 1 << (2 * len(entries)).bit_length()
    hashes, values = np.zeros(size, np.uint64), np.zeros(size, np.int64)
    for key, value in entries.items():
        place = key & (size - 1)
        while hashes[place]:
            place = (place + 1) & (size - 1)
        hashes[place], values[place] = key, value
    return hashes, values


def _hints(words_of: dict[int, str]) -> dict[int, int]:
    entries: dict[int, int] = {}
    for bits, phrases in words_of.items():
        for phrase in phrases.split(","):
            words = [hashed(word) for word in phrase.split()]
            key = words[0]
            for word in words[1:]:
                key = pair(key, word)
            entries[key] = entries.get(key, 0) | bits
    return entries


# A void element has the negative of its tag's number, less one.
TAG_TABLE = table(
    {hashed(name): number for name, number in TAG.items()} | {hashed(name): -TAG.get(name, 0) - 1 for name in VOID}
)
HINT_TABLE = table(_hints(HINT_WORDS))
ROLE_TABLE = table(_hints(ROLES))
ATTRIBUTE_TABLE = table(
    {hashed(name.strip("_").replace("_", "-")): number for name, number in ATTRIBUTES._asdict().items()}
)
