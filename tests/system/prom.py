# SPDX-License-Identifier: MIT
"""A real Prometheus that scrapes web servers of a stack.

    with Prometheus(st, {"lighttpd": web}) as prom:
        prom.scraped()                      # once more from now on
        prom.value("sse_streams_open")      # what it has for it
"""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request

from harness import ROOT, free_port, wait_until


def families():
    """{name: (type, label name or None)} of the catalogue, as the compiler
    reads it."""
    source = ('#define FAMILY(n, t, u, l, s) F(n, t, l)\n'
              '#include "metrics.def"\n')
    text = subprocess.run(["cc", "-E", "-P", "-I", str(ROOT / "lib"), "-"],
                          input=source.encode(), stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    found = re.findall(r'F\("(\w+)", (\w+), (NULL|\(\(void\*\)0\)|"\w+")\)',
                       re.sub(r"\s+", " ", text))
    assert len(found) > 50, text[:500]
    return {n: (t, l.strip('"') if l.startswith('"') else None)
            for n, t, l in found}


class Prometheus:
    """fronts: {job: web server}; each is a target of its own.
    rules: the text of a file of rules."""

    INTERVAL_S = 0.5

    def __init__(self, stack, fronts, rules=None):
        self.stack = stack
        self.port = free_port()
        self.dir = stack.mkdir(stack.dir / "prometheus")
        jobs = "".join(
            "  - job_name: %s\n"
            "    metrics_path: /sse-metrics.fcgi\n"
            "    static_configs: [{targets: ['127.0.0.1:%d']}]\n"
            % (job, web.port) for job, web in fronts.items())
        stack.write(self.dir / "prometheus.yml",
                    "global: {scrape_interval: %dms, scrape_timeout: %dms, "
                    "evaluation_interval: 1s}\n"
                    "scrape_configs:\n%s" % (self.INTERVAL_S * 1000,
                                             self.INTERVAL_S * 1000, jobs)
                    + ("rule_files: [rules.yml]\n" if rules else ""))
        if rules:
            stack.write(self.dir / "rules.yml", rules)
        self.jobs = list(fronts)
        self.proc = stack.spawn("prometheus", [
            "/usr/bin/prometheus", "--config.file", self.dir / "prometheus.yml",
            "--storage.tsdb.path", self.dir / "data", "--log.level", "warn",
            "--web.listen-address", "127.0.0.1:%d" % self.port])
        wait_until(self._answers, 30, "Prometheus to answer", step=0.05)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.proc.stop()

    def _get(self, path, **query):
        url = "http://127.0.0.1:%d%s?%s" % (
            self.port, path, urllib.parse.urlencode(query, doseq=True))
        with urllib.request.urlopen(url, timeout=20) as r:
            answer = json.load(r)
        assert answer["status"] == "success", answer
        return answer["data"]

    def _answers(self):
        try:
            return self._get("/api/v1/query", query="1")
        except OSError:
            return None

    def query(self, expression):
        """[(labels, value)]"""
        data = self._get("/api/v1/query", query=expression)
        return [(r["metric"], float(r["value"][1])) for r in data["result"]]

    def value(self, expression):
        """The value, of which all jobs must have the same."""
        got = self.query(expression)
        assert got, "nothing for " + expression
        assert len({v for _, v in got}) == 1, (expression, got)
        return got[0][1]

    def rules(self):
        """All rules as Prometheus has them, with health and state."""
        return [r for g in self._get("/api/v1/rules")["groups"]
                for r in g["rules"]]

    def names(self):
        return set(self._get("/api/v1/label/__name__/values"))

    def scraped(self, timeout=30):
        """Waits for a scrape of each job that began after this call."""
        since = time.time()
        wait_until(lambda: len([1 for _, at in self.query("timestamp(up == 1)")
                                if at > since]) >= len(self.jobs),
                   timeout, "a scrape", step=0.05)

    def until(self, expression, value, timeout=30):
        """Waits until all jobs have this value."""
        def there():
            got = self.query(expression)
            return len(got) >= 1 and all(v == value for _, v in got)
        try:
            wait_until(there, timeout, expression, step=0.05)
        except AssertionError:
            raise AssertionError("%s is %r and not %r" % (
                expression, self.query(expression), value)) from None


def promtool(*args, input=None):
    return subprocess.run(["/usr/bin/promtool", *map(str, args)], input=input,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=300)
