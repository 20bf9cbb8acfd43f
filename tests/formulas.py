"""Texts that a spreadsheet may take for a formula: both writers of a csv, in Python and JavaScript, neutralize them."""

from __future__ import annotations

from typing import Final

#: Signs, separators, invisible characters, and some that are none of these.
ALPHABET: Final = (
    "=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
    ";,|\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
    " '\"\x00\x1b\x1f\x7f\xa0\xad\u061c\u180e\u200b\u202e\u202f\u2066\u3000\ufe0f\ufeff"
    "aß1[\U0001f600"
)

#: A text, and the cell that it becomes.
CELLS: Final = [
    ("=1+1", "'=1+1"),
    ("-1", "'-1"),
    ("  =1+1", "'  =1+1"),
    ("\ufeff=1+1", "'\ufeff=1+1"),
    ("\x7f\xad\u061c\u180e\u202e\u2066\ufe0f=1+1", "'\x7f\xad\u061c\u180e\u202e\u2066\ufe0f=1+1"),
    ("\uff1d1+1", "'\uff1d1+1"),
    ("\ufe66cmd", "'\ufe66cmd"),
    ("a;@SUM(1)", "a;'@SUM(1)"),
    ("a\n=1+1", "a\n'=1+1"),
    ("a;=1+1", "a;'=1+1"),
    ('a;"=1+1"', 'a;\'"=1+1"'),
    ("\ttext", "'\ttext"),
    ("a\u2028\ttext", "a\u2028'\ttext"),
    ("a;\ttext", "a;'\ttext"),
    ('a\u2028"\ttext', "a\u2028'\"\ttext"),
    ("a\t\ttext", "a\t\ttext"),
    ("weld - T4", "weld - T4"),
    ("a;b", "a;b"),
    ("a=b@c", "a=b@c"),
]
