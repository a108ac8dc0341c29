#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes docs/images/status-*.png: the status page of a stack under load.

Usage: tests/page/screenshots.py [seconds]     (the programs must be built)
"""

import base64
import pathlib
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "system"))

from browser import Browser  # noqa: E402
from harness import Stack  # noqa: E402
from loadlib import Publishers, Subscribers  # noqa: E402

SIZES = {"light": (1180, False), "dark": (1180, True), "phone": (390, False)}


def unfilter(raw, width, height):
    """Rows of RGB bytes of a PNG's data (PNG specification, 9.2)."""
    stride, rows, above = 3 * width, [], bytearray(3 * width)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        row = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride) if kind else ():
            a = row[i - 3] if i >= 3 else 0
            b, c = above[i], above[i - 3] if i >= 3 else 0
            if kind == 4:
                p = a + b - c
                a = min((abs(p - a), 0, a), (abs(p - b), 1, b),
                        (abs(p - c), 2, c))[2]
            row[i] = (row[i] + (a, b, (a + b) // 2, a)[kind - 1]) & 255
        rows.append(row)
        above = row
    return rows


def shrink(png):
    """The same picture in its 256 most used colours: a third of the bytes."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (depth, kind) == (8, 2), "not RGB"
    data, at = b"", 8
    while at < len(png):
        size, name = struct.unpack(">I4s", png[at:at + 8])
        if name == b"IDAT":
            data += png[at + 8:at + 8 + size]
        at += size + 12
    rows = [[bytes(row[i:i + 3]) for i in range(0, 3 * width, 3)]
            for row in unfilter(zlib.decompress(data), width, height)]
    used = Counter(c for row in rows for c in row)
    palette = [c for c, _ in used.most_common(256)]
    index = {c: min(range(len(palette)), key=lambda k: sum(
        (x - y) ** 2 for x, y in zip(c, palette[k]))) for c in used}

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + \
            struct.pack(">I", zlib.crc32(name + body))
    return png[:8] + chunk(b"IHDR", struct.pack(
        ">IIBBBBB", width, height, 8, 3, 0, 0, 0)) + \
        chunk(b"PLTE", b"".join(palette)) + chunk(b"IDAT", zlib.compress(
            b"".join(b"\0" + bytes(index[c] for c in row) for row in rows),
            9)) + chunk(b"IEND", b"")


def shoot(browser, page, name):
    width, dark = SIZES[name]
    browser.call("Emulation.setEmulatedMedia", page.session, features=[
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
    browser.call("Emulation.setDeviceMetricsOverride", page.session,
                 width=width, height=900, deviceScaleFactor=1,
                 mobile=width < 500)
    time.sleep(1.5)
    height = min(page.eval("document.documentElement.scrollHeight"), 1500)
    png = browser.call("Page.captureScreenshot", page.session, format="png",
                       captureBeyondViewport=True,
                       clip=dict(x=0, y=0, width=width, height=height, scale=1))
    path = ROOT / "docs" / "images" / ("status-%s.png" % name)
    path.write_bytes(shrink(base64.b64decode(png["data"])))
    print(path, path.stat().st_size)


def main(seconds):
    with Stack(config={"heartbeat_ms": 2000}) as st, \
            tempfile.TemporaryDirectory() as profile:
        st.start(workers=2)
        fast = st.front("lighttpd", cap=2000)
        old = st.front("apache-proxy", cap=100)
        browser = Browser(profile)
        page = browser.page(fast.url + "/sse-metrics.fcgi?format=html")
        with Subscribers(st, fast, 400, "--churn", 8, "--seconds", 3600,
                         max_time=900) as many, \
                Subscribers(st, old, 60, "--seconds", 3600,
                            max_time=900) as few, \
                Publishers(st, 10 ** 6, "--rate", 40, max_time=900):
            many.ready()
            few.ready()
            time.sleep(seconds)
            page.until("document.getElementById('sentence').textContent === "
                       "'All is well.'", 60)
            for name in SIZES:
                shoot(browser, page, name)
        browser.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 150)
