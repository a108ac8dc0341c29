# SPDX-License-Identifier: MIT
"""Who may read, through the real servers: what their own modules say of a
visitor is believed, and nothing that he says himself."""

import base64
import contextlib
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.parse

import jwt
import pytest

from harness import FRONTS, RUN_AS, Stack, free_port

SECRET = "0123456789abcdef0123456789abcdef"
RULES = """
anyone                         read  news public.*
user                           read  user.$user user.$user_label.*
user alice                     read  admin.*
group staff                    read  staff.*
env OIDC_CLAIM_tenant          read  tenant.$value_label.*
env OIDC_CLAIM_TENANT          read  tenant.$value_label.*
env SSL_CLIENT_VERIFY=SUCCESS  read  devices.*
env SSL_CLIENT_S_DN_CN         read  device.$value_label.*
token                          read  tok.*
uid 0 %d                       publish  *
""" % (RUN_AS.pw_uid if RUN_AS else 0)


def put(st, name, text, mode=0o644):
    path = st.dir / name
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def st():
    with Stack() as s:
        s.configure(access=put(s, "access.conf", RULES),
                    groups=put(s, "groups", "staff: alice\n"),
                    token_keys=put(s, "keys", SECRET + "\n"),
                    heartbeat_ms=1000, retry_ms=500)
        put(s, "htpasswd", "".join(
            "%s:%s\n" % (u, subprocess.check_output(
                ["openssl", "passwd", "-apr1", "secret-" + u],
                text=True).strip()) for u in ("alice", "bob", "a.b@c/d")))
        s.start(metrics=False)
        s.publish("news", "the first")
        yield s


@pytest.fixture(scope="module")
def made(st):
    """made(kind, what): the server with this way to know visitors."""
    all = {}

    def get(kind, what):
        if (kind, what) not in all:
            all[kind, what] = st.front(kind, **OPTIONS[kind.split("-")[0],
                                                       what](st))
        return all[kind, what]

    return get


def apache_load(*names):
    return "".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n"
                   % (n, n) for n in names)


def location(text):
    return '<Location "/sse.fcgi">\n%s\n</Location>\n' % text


PASS_TOKENS = location("CGIPassAuth On")


def apache_plain(st):
    return dict(extra=PASS_TOKENS + location(
        "SetEnvIf X-Nothing . OIDC_CLAIM_unused=1"))


def apache_basic(st):
    return dict(server=apache_load("authn_core", "auth_basic", "authn_file",
                                   "authz_user"),
                extra=location("""AuthType Basic
AuthName "site"
AuthBasicProvider file
AuthUserFile "%s/htpasswd"
Require valid-user""" % st.dir))


def apache_env(st):
    return dict(extra=location('SetEnv OIDC_CLAIM_tenant "acme"'))


def lighttpd_modules(more):
    old = '"mod_access", "mod_setenv", "mod_fastcgi"'
    return [(old, more + ", " + old)]


def lighttpd_plain(st):
    return {}


def lighttpd_basic(st):
    return dict(subst=lighttpd_modules('"mod_auth", "mod_authn_file"'), extra="""
auth.backend = "htpasswd"
auth.backend.htpasswd.userfile = "%s/htpasswd"
auth.require = ( "/sse.fcgi" => ( "method" => "basic", "realm" => "site",
                                  "require" => "valid-user" ) )
""" % st.dir)


def lighttpd_env(st):
    return dict(subst=[('"WALCAST_ADDRESS_SHARE" =>',
                        '"OIDC_CLAIM_tenant" => "acme", '
                        '"WALCAST_ADDRESS_SHARE" =>')])


OPTIONS = {("apache", "plain"): apache_plain,
           ("apache", "basic"): apache_basic,
           ("apache", "env"): apache_env,
           ("lighttpd", "plain"): lighttpd_plain,
           ("lighttpd", "basic"): lighttpd_basic,
           ("lighttpd", "env"): lighttpd_env}


def outcome(web, query, **kw):
    """What a request comes to: "open", a reason of control.close, a status.
    Who is told that there is no slot so far comes again."""
    deadline = time.monotonic() + 30
    while True:
        with web.stream(query, timeout=20, **kw) as s:
            if s.status != 200:
                return s.status
            e = s.next(20)
            if e.type == "control.open":
                return "open"
        if e.json["reason"] != "overload" or time.monotonic() > deadline:
            return e.json["reason"]
        time.sleep(0.1)


def channels(*names, **more):
    return [("channel", n) for n in names] + list(more.items())


def basic(user):
    text = base64.b64encode(("%s:secret-%s" % (user, user)).encode()).decode()
    return {"Authorization": "Basic " + text}


def token(lives_s=600, secret=SECRET, read=("tok.*",), **claims):
    now = int(time.time())
    return jwt.encode({"exp": now + lives_s, "iat": now,
                       "walcast": {"read": list(read)}, **claims},
                      secret, algorithm="HS256")


# exact, prefix, several, resumed by id, last=N: all are judged alike
def shapes(exact, prefix):
    return [channels(exact), channels(prefix), channels(exact, "news"),
            channels(exact, last_event_id="1"), channels(exact, last="5"),
            channels(prefix, last_event_id="earliest")]


def expect(web, want, exact, prefix, **kw):
    for query in shapes(exact, prefix):
        assert outcome(web, query, **kw) == want, (web.kind, query, kw)


@pytest.mark.parametrize("kind", FRONTS)
def test_anyone(made, kind):
    web = made(kind, "plain")
    expect(web, "open", "news", "public.*")
    expect(web, 403, "new", "news*")
    expect(web, 403, "user.alice", "user.alice.*")
    for channel, status in (("news", 200), ("user.alice", 403)):
        with web.stream(channels(channel), method="HEAD") as s:
            assert s.status == status


@pytest.mark.parametrize("kind", FRONTS)
def test_users_of_basic_authentication(made, kind):
    web = made(kind, "basic")
    assert outcome(web, channels("news")) == 401, "the server's own"
    expect(web, "open", "user.alice", "user.alice.*", headers=basic("alice"))
    expect(web, 403, "user.bob", "user.*", headers=basic("alice"))
    expect(web, 403, "user.alice", "user.alice.*", headers=basic("bob"))
    expect(web, "open", "admin.x", "admin.*", headers=basic("alice"))
    expect(web, 403, "admin.x", "admin.*", headers=basic("bob"))
    expect(web, "open", "staff.x", "staff.*", headers=basic("alice"))
    expect(web, 403, "staff.x", "staff.*", headers=basic("bob"))
    expect(web, "open", "user.a.b@c/d", "user.a%2Eb@c%2Fd.*",
           headers=basic("a.b@c/d"))
    expect(web, 403, "user.a", "user.a.*", headers=basic("a.b@c/d"))


@pytest.mark.parametrize("kind", FRONTS)
def test_variables_of_the_server(made, kind):
    """As mod_auth_openidc sets them: a stand-in for its claims.  lighttpd
    writes all names in upper case."""
    web = made(kind, "env")
    expect(web, "open", "tenant.acme.x", "tenant.acme.*")
    expect(web, 403, "tenant.other.x", "tenant.*")
    expect(web, 403, "devices.x", "devices.*")


@pytest.mark.parametrize("kind", FRONTS)
def test_tokens(made, kind):
    web = made(kind, "plain")
    ways = [lambda t: dict(headers={"Authorization": "Bearer " + t}),
            lambda t: dict(headers={"Cookie": "a=b; walcast_token=" + t}),
            lambda t: dict(headers={"Cookie": "mercureAuthorization=" + t})]
    for way in ways:
        expect(web, "open", "tok.x", "tok.*", **way(token()))
        expect(web, 403, "tok.x", "tok.*", **way(token(read=["tok.y"])))
        expect(web, 401, "tok.x", "tok.*", **way(token(secret="f" * 32)))
        expect(web, "auth_expired", "tok.x", "tok.*", **way(token(-61)))
    for name in ("token", "authorization"):
        assert outcome(web, channels("tok.x", **{name: token()})) == "open"
        assert outcome(web, channels("tok.x", **{name: "x"})) == 401
    assert outcome(web, channels("user.dora"),
                   headers={"Authorization": "Bearer " + token(
                       sub="dora")}) == "open"


# ---- what a client says himself ----------------------------------------------

SPOOFS = [(n, v) for v in ("alice", "SUCCESS", "acme", "CN=alice")
          for n in ("Remote-User", "REMOTE_USER", "Remote_User", "remote-user",
                    "X-Remote-User", "Redirect-Remote-User",
                    "REDIRECT_REMOTE_USER", "Auth-Type", "X-Forwarded-User",
                    "Oidc-Claim-Tenant", "OIDC_CLAIM_tenant",
                    "Ssl-Client-Verify", "SSL_CLIENT_VERIFY",
                    "Ssl-Client-S-Dn-Cn", "SSL_CLIENT_S_DN_CN")]


@pytest.mark.parametrize("kind", FRONTS)
@pytest.mark.parametrize("twice", [False, True])
def test_no_header_makes_a_visitor_somebody(made, kind, twice):
    web = made(kind, "plain")
    lines = ["%s: %s" % h for h in SPOOFS]
    for part in (lines[:30], lines[30:]):
        part = part * 2 if twice else part
        for channel in ("user.alice", "admin.x", "staff.x", "tenant.acme.x",
                        "devices.x", "device.alice.x"):
            head = "GET /sse.fcgi?channel=%s HTTP/1.1\r\nHost: x\r\n%s\r\n" \
                "Connection: close\r\n\r\n" % (channel, "\r\n".join(part))
            with socket.create_connection(web.addr, 10) as s:
                s.sendall(head.encode())
                status = int(s.recv(4096).split()[1])
            # Apache and lighttpd may refuse a name with an underscore.
            assert status in (403, 400), (channel, status)


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"),
                    reason="nginx is not installed")
def test_a_name_that_nginx_did_not_check_is_nobody(st):
    """Its fastcgi_params hands on any name as REMOTE_USER, with any
    password; the line of docs/nginx.md takes it away."""
    web = st.front("nginx")
    expect(web, "open", "news", "public.*", headers=basic("alice"))
    for name in ("alice", "a.b@c/d", "x"):
        expect(web, 403, "user." + name, "user.*", headers=basic(name))
    expect(web, 403, "admin.x", "admin.*", headers=basic("alice"))
    expect(web, 403, "staff.x", "staff.*", headers=basic("alice"))
    bearer = {"Authorization": "Bearer " + token()}
    expect(web, "open", "tok.x", "tok.*", headers=bearer)


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"),
                    reason="nginx is not installed")
def test_a_name_that_nginx_has_checked_is_believed(st):
    """As docs/nginx.md says: auth_basic there, and without the line."""
    web = st.front("nginx", subst=[(
        'fastcgi_param REMOTE_USER "";',
        'auth_basic "site"; auth_basic_user_file %s/htpasswd;' % st.dir)])
    expect(web, "open", "user.alice", "user.alice.*", headers=basic("alice"))
    expect(web, 403, "user.bob", "user.bob.*", headers=basic("alice"))
    assert outcome(web, channels("user.alice"), headers=basic("eve")) == 401
    assert outcome(web, channels("news")) == 401


@pytest.mark.parametrize("kind", ["lighttpd", "apache-proxy"])
def test_no_header_of_http2_makes_a_visitor_somebody(st, kind):
    web = st.front(kind, **({"h2": True} if kind != "lighttpd" else {}))
    try:
        for channel in ("user.alice", "staff.x", "tenant.acme.x", "devices.x"):
            said = []
            for part in (SPOOFS[:30], SPOOFS[30:]):
                said += subprocess.run(
                    ["curl", "-s", "-o", "/dev/null", "-w",
                     "%{http_version} %{http_code}", "--max-time", "5",
                     "--http2-prior-knowledge"] + [
                        a for h in part for a in ("-H", "%s: %s" % h)] + [
                        "%s/sse.fcgi?channel=%s" % (web.url, channel)],
                    stdout=subprocess.PIPE, text=True).stdout.split()
            assert said in (["2", "403"] * 2, ["2", "400"] * 2), said
    finally:
        web.stop()


@pytest.mark.parametrize("kind", FRONTS)
def test_the_proxy_header_is_nothing(made, kind):
    web = made(kind, "plain")
    assert outcome(web, channels("news"),
                   headers={"Proxy": "http://127.0.0.1:1/"}) in ("open", 400)


@pytest.mark.parametrize("kind", FRONTS)
def test_no_path_goes_around_the_rules(made, kind):
    web = made(kind, "plain")
    for path in ("/sse.fcgi/user.alice", "/sse.fcgi/news,user.alice",
                 "/sse.fcgi//user.alice", "/sse.fcgi/user%2ealice",
                 "/sse.fcgi/%75ser.alice", "/./sse.fcgi/user.alice",
                 "/sse.fcgi/news?channel=user.alice",
                 "/sse.fcgi/user.alice?channel=news"):
        with web.stream(path=path) as s:
            assert s.status in (400, 403, 404), path


# ---- a login form, a certificate ------------------------------------------------

def test_users_of_a_login_form(st):
    web = st.front("apache-proxy", server=apache_load(
        "authn_core", "authn_file", "authz_user", "request", "session",
        "session_cookie", "auth_form"), extra="""
<Location "/login">
	SetHandler form-login-handler
	AuthFormLoginSuccessLocation /index.html
</Location>
<LocationMatch "^/(login|sse.fcgi)">
	AuthType form
	AuthName "site"
	AuthFormProvider file
	AuthUserFile "%s/htpasswd"
	Session On
	SessionCookieName session path=/
</LocationMatch>
<Location "/login">
	Require all granted
</Location>
<Location "/sse.fcgi">
	Require valid-user
</Location>
""" % st.dir)
    c = http.client.HTTPConnection(*web.addr, timeout=10)
    c.request("POST", "/login", urllib.parse.urlencode(
        {"httpd_username": "alice", "httpd_password": "secret-alice"}),
        {"Content-Type": "application/x-www-form-urlencoded"})
    r = c.getresponse()
    cookie = r.getheader("Set-Cookie", "").split(";")[0]
    assert cookie.startswith("session="), (r.status, r.getheaders())
    expect(web, "open", "user.alice", "user.alice.*",
           headers={"Cookie": cookie})
    expect(web, 403, "user.bob", "user.bob.*", headers={"Cookie": cookie})
    assert outcome(web, channels("user.alice")) == 401


@pytest.fixture(scope="module")
def pki(st):
    """ca.pem, server.pem, device.pem (CN=pump-7) and stranger.pem, which
    another authority has signed; each with its key."""
    def run(*argv):
        subprocess.run(argv, cwd=st.dir, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for ca, cn in (("ca", "Ours"), ("other", "Theirs")):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            "/CN=" + cn, "-keyout", ca + ".key", "-out", ca + ".pem")
    for name, cn, ca in (("server", "localhost", "ca"),
                         ("device", "pump-7", "ca"),
                         ("stranger", "pump-7", "other")):
        run("openssl", "req", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + cn,
            "-keyout", name + ".key", "-out", name + ".csr")
        run("openssl", "x509", "-req", "-in", name + ".csr", "-CA",
            ca + ".pem", "-CAkey", ca + ".key", "-CAcreateserial", "-days",
            "2", "-out", name + ".crt")
        (st.dir / (name + ".pem")).write_text(
            (st.dir / (name + ".crt")).read_text() +
            (st.dir / (name + ".key")).read_text())
    return st.dir


def over_tls(port, pki, who, channel):
    """The status and the first event's type; "handshake" if that failed."""
    context = ssl._create_unverified_context()
    if who:
        context.load_cert_chain(pki / (who + ".pem"))
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as raw, \
                context.wrap_socket(raw, server_hostname="localhost") as s:
            s.sendall(("GET /sse.fcgi?channel=%s HTTP/1.1\r\nHost: localhost"
                       "\r\n\r\n" % channel).encode())
            head = b""
            while b"\r\n\r\n" not in head:
                more = s.recv(4096)
                if not more:
                    return "handshake"
                head += more
            return int(head.split()[1])
    except (ssl.SSLError, ConnectionError):
        return "handshake"


def apache_tls(st, pki, verify):
    port = free_port()
    front = st.front("apache-proxy", server=apache_load(
        "socache_shmcb", "ssl") + "Listen 127.0.0.1:%d\n" % port, extra="""
</VirtualHost>
<VirtualHost 127.0.0.1:%(port)d>
	ServerName localhost
	SSLEngine on
	SSLCertificateFile %(pki)s/server.crt
	SSLCertificateKeyFile %(pki)s/server.key
	SSLCACertificateFile %(pki)s/ca.pem
	SSLVerifyClient %(verify)s
	<Location "/sse.fcgi">
		SSLOptions +StdEnvVars
		ProxyPass "unix:%(sock)s|fcgi://walcast-sse/sse.fcgi" flushpackets=on
	</Location>
""" % dict(port=port, pki=pki, verify=verify, sock=st.sse_sock))
    return front, port


def lighttpd_tls(st, pki, verify):
    port = free_port()
    enforce = "enable" if verify == "require" else "disable"
    front = st.front("lighttpd", subst=lighttpd_modules('"mod_openssl"'),
                     extra="""
$SERVER["socket"] == "127.0.0.1:%d" {
	ssl.engine = "enable"
	ssl.pemfile = "%s/server.pem"
	ssl.ca-file = "%s/ca.pem"
	ssl.verifyclient.activate = "enable"
	ssl.verifyclient.enforce = "%s"
	ssl.verifyclient.exportcert = "enable"
	ssl.verifyclient.username = "SSL_CLIENT_S_DN_CN"
}
""" % (port, pki, pki, enforce))
    return front, port


@pytest.mark.parametrize("server", [apache_tls, lighttpd_tls])
def test_client_certificates(st, pki, server):
    with contextlib.ExitStack() as stack:
        front, port = server(st, pki, "optional")
        stack.callback(front.stop)
        assert over_tls(port, pki, "device", "devices.x") == 200
        assert over_tls(port, pki, "device", "device.pump-7.x") == 200
        assert over_tls(port, pki, "device", "device.pump-8.x") == 403
        assert over_tls(port, pki, None, "devices.x") == 403
        assert over_tls(port, pki, None, "news") == 200
        assert over_tls(port, pki, "stranger", "devices.x") in (
            "handshake", 403)
        assert over_tls(port, pki, "stranger", "device.pump-7.x") in (
            "handshake", 403)


def test_a_certificate_that_nobody_verified_is_nobody(st, pki):
    """Apache with optional_no_ca takes any; its names must not count."""
    front, port = apache_tls(st, pki, "optional_no_ca")
    try:
        assert over_tls(port, pki, "device", "device.pump-7.x") == 200
        assert over_tls(port, pki, "stranger", "device.pump-7.x") == 403
        assert over_tls(port, pki, "stranger", "devices.x") == 403
    finally:
        front.stop()
