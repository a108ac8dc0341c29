# SPDX-License-Identifier: MIT
"""docs/monitoring: rules, dashboards and runbooks that fit what is shipped."""

import json
import re
import subprocess

import pytest
import yaml

from harness import BIN, ROOT, wait_until
from prom import Prometheus, promtool

HERE = ROOT / "docs" / "monitoring"
RULES = HERE / "walcast.rules.yml"
DASHBOARDS = sorted((HERE / "grafana").glob("*.json"))
PAGES = sorted((HERE / "runbook").glob("*.md"))

# Prometheus's own, and labels that it gives.
PROMETHEUS = {"up": {}, "ALERTS": {"alertname": None, "alertstate": None}}
SCRAPED = {"job", "instance"}
KEYWORDS = {"and", "or", "unless", "offset", "bool", "by", "without", "on",
            "ignoring", "group_left", "group_right"}


# ---------------------------------------------------------------- what there is

def catalogue():
    """{name of a series: {label: values, None for any}}, from the program."""
    text = subprocess.run([str(BIN / "sse-metrics.fcgi"), "--catalogue"],
                          stdout=subprocess.PIPE, check=True).stdout.decode()
    names = {}
    for line in text.splitlines()[2:]:
        _, name, type, _, label, _ = [
            c.strip() for c in line.split("|", 5)]
        labels = {}
        if label:
            key, _, values = label.partition(":")
            labels[key.strip("` ")] = None if values.strip() == "any" else \
                set(re.findall(r"`([^`]*)`", values))
        name = name.strip("`")
        if type == "histogram":
            names[name + "_bucket"] = dict(labels, le=None)
            names[name + "_sum"] = names[name + "_count"] = labels
        else:
            names[name] = labels
    assert len(names) > 90, sorted(names)
    return names


def rules():
    return [r for g in yaml.safe_load(RULES.read_text())["groups"]
            for r in g["rules"]]


def alerts():
    return [r for r in rules() if "alert" in r]


def walk(node):
    """All objects of a JSON document."""
    if isinstance(node, dict):
        yield node
    for child in (node.values() if isinstance(node, dict)
                  else node if isinstance(node, list) else ()):
        yield from walk(child)


def dashboard_queries(path):
    return [o["expr"] for o in walk(json.loads(path.read_text()))
            if "expr" in o]


def blocks(page, language):
    return re.findall(r"^```%s\n(.*?)^```" % language, page.read_text(),
                      re.M | re.S)


def page_queries(page):
    lines = "".join(blocks(page, "promql")).splitlines()
    return [q for q in (l.partition("#")[0].strip() for l in lines) if q]


def queries():
    """[(where, PromQL)] of all that is shipped."""
    found = [(r.get("alert", r.get("record")), r["expr"]) for r in rules()]
    for path in DASHBOARDS:
        found += [(path.name, q) for q in dashboard_queries(path)]
    for page in PAGES + [ROOT / "docs" / "METRICS.md"]:
        found += [(page.name, q) for q in page_queries(page)]
    return found


def plain(query):
    """Grafana's variables replaced as Grafana does it."""
    for name, value in (("$__rate_interval", "5m"), ("$__interval", "15s"),
                        ("$__range", "3h"), ("$job", "walcast"),
                        ("$instance", ".*")):
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


# ---------------------------------------------------------------- a query's names

def selectors(query):
    """[(metric, [(label, operator, value)])] and the labels of by, on, ..."""
    matchers, labels = [], set()

    def keep(m):
        inner = re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', m.group(2))
        matchers.append((m.group(1), inner))
        return " "
    query = re.sub(r"\[[^]]*\]", " ", query)
    query = re.sub(r"([A-Za-z_:][\w:]*)\s*\{([^}]*)\}", keep, query)

    def group(m):
        labels.update(x.strip() for x in m.group(1).split(",") if x.strip())
        return " "
    query = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)"
                   r"\s*\(([^)]*)\)", group, query)
    assert '"' not in query, query
    for m in re.finditer(r"[A-Za-z_:][\w:]*", query):
        rest = query[m.end():].lstrip()
        before = query[:m.start()][-1:]
        if m.group() not in KEYWORDS and not rest.startswith("(") and \
                not before.isdigit():
            matchers.append((m.group(), []))
    return matchers, labels


def label_is_known(known, label, operator, value):
    if label in SCRAPED:
        return True
    if label not in known:
        return False
    if known[label] is None or not value:
        return True
    names = value.split("|") if "~" in operator else [value]
    return set(names) <= known[label]


def faults(where, query, known, recorded):
    """What of a query is not in the catalogue."""
    wrong = []
    matchers, groups = selectors(query)
    allowed = set(SCRAPED)
    for metric, labels in matchers:
        if metric in recorded:
            of = {}
        elif metric in known:
            of = known[metric]
        else:
            wrong.append("%s: there is no %s" % (where, metric))
            continue
        allowed |= set(of)
        wrong += ["%s: %s has no %s%s%s" % ((where, metric) + one)
                  for one in labels if not label_is_known(of, *one)]
    wrong += ["%s: %s is no label of it" % (where, label)
              for label in groups - allowed]
    return wrong


def test_queries_name_what_is_in_the_catalogue_and_nothing_else():
    known = dict(catalogue(), **PROMETHEUS)
    recorded = {r["record"] for r in rules() if "record" in r}
    found = queries()
    assert len(found) > 150
    wrong = [f for where, q in found
             for f in faults(where, plain(q), known, recorded)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("query, what", [
    ("rate(sse_nothing_total[5m])", "there is no sse_nothing_total"),
    ("sse_streams_open / on (job) sse_other", "there is no sse_other"),
    ('sse_gaps_total{code="late"}', "has no code"),
    ('sse_gaps_total{code=~"ahead|late"}', "has no code"),
    ('sse_gaps_total{why!="x"}', "has no why"),
    ("sum by (front) (sse_streams_open)", "front is no label of it"),
    ("sum(rate(sse_delivery_latency_seconds[5m]))", "there is no sse_del"),
    ("instance:sse_streams_open:sum", "there is no instance:sse")])
def test_the_check_sees_a_name_that_is_wrong(query, what):
    assert what in "\n".join(faults("x", query, catalogue(), set()))


def test_every_figure_is_on_a_dashboard():
    shown = {m for path in DASHBOARDS for q in dashboard_queries(path)
             for m, _ in selectors(plain(q))[0]}
    missing = {n for n in catalogue() if n not in shown
               and not n.endswith(("_sum", "_count"))}
    # Of a histogram its buckets tell all; the rest is derived from others.
    assert not missing, sorted(missing)


def test_queries_are_promql(tmp_path):
    """promtool reads each as a rule."""
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": [
        {"record": "q:%d" % n, "expr": plain(q)}
        for n, (_, q) in enumerate(queries())]}]}))
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout.decode()


# ---------------------------------------------------------------- rules

def test_promtool_accepts_the_rules_and_the_configuration():
    for args in (("check", "rules", RULES),
                 ("check", "config", HERE / "prometheus.yml")):
        done = promtool(*args)
        assert done.returncode == 0, done.stdout.decode()


def test_alerts_fire_when_they_should_and_not_else():
    done = promtool("test", "rules", HERE / "walcast.rules.test.yml")
    assert done.returncode == 0, done.stdout.decode()


def test_each_alert_is_seen_to_fire_and_to_be_silent():
    fired, silent = set(), set()
    tests = yaml.safe_load((HERE / "walcast.rules.test.yml").read_text())
    for one in tests["tests"]:
        for check in one["alert_rule_test"]:
            severities = {a["exp_labels"]["severity"]
                          for a in check["exp_alerts"]}
            fired |= {(check["alertname"], s) for s in severities}
            if not severities:
                silent.add(check["alertname"])
    assert fired == {(a["alert"], a["labels"]["severity"]) for a in alerts()}
    assert silent == {a["alert"] for a in alerts()}


def test_each_alert_says_what_how_much_and_where_to_read_on():
    for a in alerts():
        assert a["labels"]["severity"] in ("critical", "warning"), a
        assert set(a["annotations"]) == {"summary", "description",
                                         "runbook_url"}, a
        assert a["annotations"]["runbook_url"] == \
            "docs/monitoring/runbook/%s.md" % a["alert"]
        assert "$labels.instance" in a["annotations"]["summary"]


# ---------------------------------------------------------------- runbooks

def test_each_alert_has_its_page_and_each_page_its_alert():
    assert {p.stem for p in PAGES} == {a["alert"] for a in alerts()}
    for page in PAGES:
        text = page.read_text()
        assert text.startswith("# %s\n" % page.stem)
        parts = re.findall(r"^## (.*)", text, re.M)
        assert parts[:2] == ["Symptom", "Look here"], page.name
        assert parts[-1] == "When it is over", page.name
        assert "do this" in text.lower(), page.name
        for other in re.findall(r"\bWalcast[A-Z]\w+", text):
            assert other in {p.stem for p in PAGES}, (page.name, other)


def page_filters():
    """[(page, program for jq)]"""
    return [(page.name, f)
            for page in PAGES + [ROOT / "docs" / "OPERATIONS.md"]
            for sh in blocks(page, "sh")
            for f in re.findall(r"jq -r?R '([^']*)'", sh)]


def events():
    """Those that the programs log."""
    source = "\n".join(p.read_text() for d in ("fcgi", "pubd")
                       for p in (ROOT / d).rglob("*.c"))
    calls = re.findall(r"LOG_EVENT\(([^;]*?),\s*LOG_(?:STR|INT)", source)
    found = {e for c in calls for e in re.findall(r'"([a-z]+\.[a-z]+)"', c)}
    assert len(found) > 15, found
    return found


def test_operations_lists_the_events_that_are_logged():
    text = (ROOT / "docs" / "OPERATIONS.md").read_text()
    table = re.search(r"^\| event \|.*?\n\n", text, re.M | re.S).group()
    listed = {e for line in table.strip().splitlines()
              for e in re.findall(r"`([a-z]+\.[a-z]+)`", line.split("|")[1])}
    assert listed == events()


def test_events_that_the_pages_look_for_are_logged():
    wanted = {e for _, f in page_filters()
              for e in re.findall(r'\.event == "([^"]*)"', f)}
    assert len(wanted) > 10
    assert wanted <= events(), wanted - events()


def test_filters_of_the_pages_run_over_a_real_log(make_stack):
    """Over lines of every program; what systemd writes in between, too."""
    st = make_stack(config={"log_format": "json", "log_level": "debug"})
    web = st.front("lighttpd", cap=10)
    with web.stream({"channel": "a"}) as s:
        s.open()
        st.publish("a", 1)
        s.data()
    st.stop_worker(0)
    st.stop_pubd()
    lines = b"Started Walcast.\n" + b"".join(
        p.log.read_bytes() for p in st._procs if p.log.exists())
    events = {json.loads(l).get("event") for l in lines.splitlines()
              if l.startswith(b"{")}
    assert {"pubd.start", "worker.start", "stream.open"} <= events, events
    for name, program in page_filters():
        done = subprocess.run(["jq", "-R", program], input=lines,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 0, (name, program, done.stderr)


# ---------------------------------------------------------------- dashboards

def test_there_are_three_dashboards_with_names_of_their_own():
    boards = [json.loads(p.read_text()) for p in DASHBOARDS]
    assert [p.stem for p in DASHBOARDS] == ["debug", "executive", "on-call"]
    assert len({b["uid"] for b in boards}) == len({b["title"]
                                                   for b in boards}) == 3


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_a_dashboard_is_whole(path):
    board = json.loads(path.read_text())
    assert board["schemaVersion"] >= 36, "Grafana 9"
    assert not board.get("id"), "Grafana gives it"
    variables = {v["name"]: v for v in board["templating"]["list"]}
    assert set(variables) == {"datasource", "job", "instance", "runbooks"}
    assert variables["datasource"]["type"] == "datasource"
    panels = board["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    taken = set()
    for p in panels:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"])
                 for y in range(g["y"], g["y"] + g["h"])}
        assert g["x"] + g["w"] <= 24 and not cells & taken, p["title"]
        taken |= cells
        if p["type"] != "row":
            assert p["title"] and p["targets"], p
            assert p["fieldConfig"]["defaults"]["unit"], p["title"]
    pages = {p.stem for p in PAGES}
    for o in walk(panels):
        if "datasource" in o:
            assert o["datasource"]["uid"] == "${datasource}"
        for url in re.findall(r"\$\{runbooks\}(\w+)\.md", str(o.get("url"))):
            assert url in pages, url


def test_no_page_or_dashboard_loads_anything_from_elsewhere():
    """The one address is the textbox that says where the runbooks are."""
    for path in DASHBOARDS:
        urls = set(re.findall(r"https?://[^\"\s]+", path.read_text()))
        assert urls == {"https://docs.example.org/walcast/monitoring/runbook/"}


# ---------------------------------------------------------------- a real one

# Of a host on which nothing fires, and where an hour has not passed.
MAY_BE_EMPTY = {"Alerts that fire", "Most in this range"}


def test_a_sound_host_fires_nothing_and_fills_every_panel(make_stack):
    st = make_stack(config={"metrics_channels": "a"}, workers=2)
    web = st.front("lighttpd", cap=100)
    streams = [web.admit({"channel": "a"}) for _ in range(10)]
    for s in streams[5:]:
        id = st.publish("a", "first")
        s.close()
    streams[5:] = [web.admit({"channel": "a"}, last_id=str(id))
                   for _ in range(5)]
    with Prometheus(st, {"walcast": web}, rules=RULES.read_text()) as prom:
        prom.scraped()

        def all_there():
            st.publish("a", "more")
            return not empty(prom)
        try:
            wait_until(all_there, 60, "data in all panels", step=0.3)
        except AssertionError:
            raise AssertionError(empty(prom)) from None
        wait_until(lambda: all(r["health"] == "ok" for r in prom.rules()), 30,
                   "all rules to be evaluated")
        assert len(prom.rules()) == len(rules())
        states = {r["name"]: r["state"] for r in prom.rules() if "state" in r}
        assert set(states.values()) == {"inactive"}, states
    for s in streams:
        s.close()


def empty(prom):
    """Titles of panels without data."""
    return [p["title"] for path in DASHBOARDS
            for p in json.loads(path.read_text())["panels"]
            for t in p.get("targets", [])
            if p["title"] not in MAY_BE_EMPTY
            and not prom.query(plain(t["expr"]))]


# ---------------------------------------------------------------- who may look

NOBODY = {"lighttpd": [("^(127\\.|::1$|::ffff:127\\.)", "^192\\.0\\.2\\.")],
          "apache-proxy": [("\tRequire local\n",
                            "\tRequire ip 192.0.2.0/24\n")]}
OPENED = {"lighttpd": [('\t#$HTTP["url"]', '\t$HTTP["url"]')],
          "apache-proxy": [("#       <", "<"),
                           ("#               Require all", "\tRequire all")]}


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_readyz_and_beacon_can_be_opened_and_the_rest_stays_shut(
        make_stack, kind):
    """What the shipped files say in a comment, without its marks."""
    st = make_stack(config={"beacon": "on"})
    paths = ["", "/healthz", "/readyz", "/beacon"]

    def statuses(subst):
        web = st.front(kind, subst=subst)
        return [web.get("/sse-metrics.fcgi" + p)[0] for p in paths]
    assert statuses(NOBODY[kind]) == [403, 403, 403, 403]
    # 405: a POST is what it takes.
    assert statuses(NOBODY[kind] + OPENED[kind]) == [403, 403, 200, 405]


# ---------------------------------------------------------------- joined logs

ACCESS_LOG = {
    "lighttpd": [('#       server.modules += ( "mod_accesslog" )',
                  'server.modules += ( "mod_accesslog" )'),
                 ("#       accesslog.format", "accesslog.format")],
    "apache-proxy": [("#       LogFormat", "LogFormat"),
                     ("#       CustomLog", "CustomLog")]}


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_the_access_log_can_be_joined_with_ours(make_stack, kind):
    """By the stream's id; and neither has the query, which may hold a
    token."""
    st = make_stack(config={"log_format": "json"})
    log = st.run / "walcast.log"
    more = dict(extra='\naccesslog.filename = "%s"\n' % log) \
        if kind == "lighttpd" else {}
    web = st.front(kind, subst=ACCESS_LOG[kind], **more)
    if kind != "lighttpd":
        log = web.dir / "walcast.log"
    with web.stream({"channel": "a", "token": "s3cret"}) as s:
        s.open()
        id = s.headers["x-sse-stream"]

    def line():
        if not log.exists():
            return None
        return [l for l in log.read_text().splitlines() if l.endswith(id)]
    wait_until(line, 30, "the line of the stream", step=0.05)
    assert "/sse.fcgi 200" in line()[0]
    ours = [json.loads(l) for p in st._procs if p.log.exists()
            for l in p.log.read_text().splitlines() if id in l]
    assert [o["event"] for o in ours][:1] == ["stream.open"]
    assert "s3cret" not in log.read_text() + st.logs(10 ** 6)
