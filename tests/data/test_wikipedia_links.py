"""Promises of data/wikipedia_links.py."""

import bz2
import gzip
from pathlib import Path

import pytest

from athanor.data.wikipedia_links import host_of_link, links

NEW_TABLE = r"""-- MySQL dump 10.19
DROP TABLE IF EXISTS `externallinks`;
CREATE TABLE `externallinks` (
  `el_id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `el_from` int(8) unsigned NOT NULL DEFAULT 0,
  `el_to_domain_index` varbinary(255) NOT NULL DEFAULT '',
  `el_to_path` blob DEFAULT NULL,
  PRIMARY KEY (`el_id`),
  KEY `el_from` (`el_from`)
) ENGINE=InnoDB;
INSERT INTO `externallinks` VALUES (1,10,'https://org.example.www.','/a?b=1&c=2'),(2,10,'http://uk.co.bbc.','/news/it\'s(1),\'x\''),(3,11,'https://com.late.:8080','/p');
INSERT INTO `externallinks` VALUES (4,12,'mailto:org.example.@ada',NULL),(5,12,'http://V4.93.184.216.34.','/'),(6,12,'https://org.wikipedia.en.','/wiki/X'),(7,12,'https://org.archive.web.','/web/20100101000000/http://example.org/old'),(8,13,'http://net.empty.','');
"""
OLD_TABLE = r"""CREATE TABLE `externallinks` (
  `el_id` int(10) unsigned NOT NULL,
  `el_from` int(8) unsigned NOT NULL,
  `el_to` blob NOT NULL,
  `el_index` blob NOT NULL,
  `el_index_60` varbinary(60) NOT NULL
);
INSERT INTO `externallinks` VALUES (1,10,'//example.org/a','http://org.example./a','http://org.example./a'),(2,3,'https://a.b/c\\d','x','y');
"""
XML = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/">
  <page><title>A</title>
    <ns>0</ns>
    <revision><text bytes="1" xml:space="preserve">See http://outside.example/x &lt;ref name="a"&gt;{{cite web
|url=https://cited.example/page?a=1&amp;amp;b=2 |title=T}}&lt;/ref&gt; and &lt;ref name="b" /&gt; text http://between.example/
&lt;ref&gt;[http://second.example/y. Title], archived at
https://web.archive.org/web/2019*/https://third.example/z&lt;/ref&gt;</text></revision>
  </page>
  <page><title>Talk:A</title>
    <ns>1</ns>
    <revision><text>&lt;ref&gt;http://talk.example/&lt;/ref&gt;</text></revision>
  </page>
  <page><title>E</title><ns>0</ns><revision><text bytes="0" /></revision></page>
  <page><title>F</title><ns>0</ns>
  <revision><text>&lt;ref&gt;https://last.example&lt;/ref&gt;</text></revision></page>
</mediawiki>
"""


def everything(host: str) -> bool:
    return True


def test_rows_of_the_new_table_become_addresses(tmp_path: Path) -> None:
    path = tmp_path / "enwiki-externallinks.sql.gz"
    path.write_bytes(gzip.compress(NEW_TABLE.encode()))
    assert list(links(path, everything)) == [
        "https://www.example.org/a?b=1&c=2",
        "http://bbc.co.uk/news/it's(1),'x'",
        "https://late.com:8080/p",
        "mailto:org.example.@ada",
        "http://93.184.216.34/",
        "http://example.org/old",
        "http://empty.net",
    ]


def test_only_wanted_hosts_come_out_archived_ones_by_what_was_archived(tmp_path: Path) -> None:
    path = tmp_path / "links.sql"
    path.write_text(NEW_TABLE)
    wanted = {"example.org", "web.archive.org", "en.wikipedia.org"}.__contains__
    assert list(links(path, wanted)) == ["http://example.org/old"]


def test_rows_of_the_old_table_too(tmp_path: Path) -> None:
    path = tmp_path / "dewiki-externallinks.sql"
    path.write_text(OLD_TABLE)
    assert list(links(path, everything)) == ["//example.org/a", "https://a.b/c\\d"]


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pagelinks.sql"
    path.write_text("-- MySQL\nCREATE TABLE `pagelinks` (\n  `pl_from` int\n);\nINSERT INTO `pagelinks` VALUES (1);\n")
    with pytest.raises(ValueError, match="expected the table externallinks of a Wikipedia dump, found pagelinks"):
        list(links(path, everything))


def test_references_of_articles_are_read_from_the_text_dump(tmp_path: Path) -> None:
    path = tmp_path / "enwiki-pages-articles.xml.bz2"
    path.write_bytes(bz2.compress(XML.encode()))
    assert list(links(path, everything)) == [
        "https://cited.example/page?a=1&b=2",
        "http://second.example/y",
        "https://third.example/z",
        "https://last.example",
    ]


def test_a_plain_list_may_be_compressed_and_name_hosts(tmp_path: Path) -> None:
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfhttps://a.example/x\r\n\nb.example\n"))
    assert list(links(path, everything)) == ["https://a.example/x", "//b.example"]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://User:pw@WWW.Example.org.:80/x@y", "www.example.org"),
        ("//example.org?x", "example.org"),
        ("https://[2001:db8::1]:8/", "[2001:db8::1]"),
        ("mailto:ada@example.org", ""),
    ],
)
def test_the_host_of_a_link(url: str, host: str) -> None:
    assert host_of_link(url) == host
