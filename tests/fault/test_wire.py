# SPDX-License-Identifier: MIT
"""Bytes of HTTP/2 as real servers send them."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

from wire import _status                                # noqa: E402


@pytest.mark.parametrize("block, status", [
    ("88", 200), ("8d5f87497ca589d34d1f5c83", 404), ("8e", 500),
    ("48836c0cff5f87497ca589d3", 503),      # lighttpd: in Huffman's code
    ("48033530330f0d033333395f", 503),      # Apache: as text
    ("0803343239", 429)])
def test_the_status_of_a_header_block_is_read(block, status):
    assert _status(bytes.fromhex(block)) == status
