# SPDX-License-Identifier: MIT
"""/sse-metrics.fcgi: figures, health, readiness."""

import re

import pytest

from harness import FRONTS, wait_until


def test_metrics_are_prometheus_text(stack, lighttpd):
    status, headers, body = lighttpd.get("/sse-metrics.fcgi")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    sample = re.compile(
        r'sse_[a-z0-9_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? '
        r'[-+0-9.eE]+(Inf|NaN)?$')
    lines = body.decode().splitlines()
    assert any(l.startswith("# TYPE sse_") for l in lines)
    for l in lines:
        assert not l or l.startswith("#") or sample.match(l), l


def test_the_head_is_among_the_gauges(stack, lighttpd, channel):
    id = stack.publish(channel, 1)

    def told():
        return float(id) in stack.gauges(lighttpd).values()
    wait_until(told, 15, "the head in the metrics")


def test_streams_are_counted(make_stack):
    st = make_stack(config={"heartbeat_ms": 300})
    web = st.front("lighttpd")

    def streams():
        g = st.gauges(web)
        return sum(v for k, v in g.items() if re.match(
            r"sse_streams(_open|_active|_current)?(\{|$)", k))
    held = [web.stream({"channel": "a"}) for _ in range(7)]
    for s in held:
        s.open()
    wait_until(lambda: streams() == 7, 20, "7 streams in the metrics")
    for s in held:
        s.close()
    wait_until(lambda: streams() == 0, 20, "no streams in the metrics")


def test_healthz_is_200(stack, lighttpd):
    assert lighttpd.get("/sse-metrics.fcgi/healthz")[0] == 200


def test_readyz_is_200_and_503_with_the_reason_once_pubd_is_gone(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")

    def ready():
        status, _, body = web.get("/sse-metrics.fcgi/readyz")
        return status, body.decode()
    wait_until(lambda: ready()[0] == 200, 20, "readyz 200")
    st.kill_pubd()
    wait_until(lambda: ready()[0] == 503, 40, "readyz 503", step=0.1)
    assert "pubd" in ready()[1]
    assert web.get("/sse-metrics.fcgi/healthz")[0] == 200, "alive all the same"
    st.start_pubd()
    wait_until(lambda: ready()[0] == 200, 40, "readyz 200 again", step=0.1)


def test_readyz_is_503_without_a_store(make_stack):
    st = make_stack(workers=0)
    web = st.front("lighttpd")
    wait_until(lambda: web.get("/sse-metrics.fcgi/readyz")[0] == 200, 20)
    st.stop_pubd()
    st.var.rename(st.var.with_name("var.away"))
    status, _, body = web.get("/sse-metrics.fcgi/readyz")
    assert status == 503 and body


@pytest.mark.parametrize("kind", FRONTS)
def test_metrics_are_not_for_others(stack, fronts, kind):
    """The shipped restriction is there: a page that is not local is refused.
    Checked by turning "local" into an address that we are not."""
    subst = {"lighttpd": [("^(127\\.|::1$|::ffff:127\\.)", "^192\\.0\\.2\\.")]}
    opts = dict(subst=subst.get(kind, [("Require local",
                                        "Require ip 192.0.2.0/24")]))
    web = stack.front(kind, **opts)
    assert web.get("/sse-metrics.fcgi")[0] == 403
    assert web.get("/sse-metrics.fcgi/readyz")[0] == 403
    with web.stream({"channel": "a"}) as s:
        s.open()
    web.stop()
