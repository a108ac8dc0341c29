# SPDX-License-Identifier: MIT
"""Tokens that others make: the examples in four languages, and `walcast
token` with each kind of key."""

import json
import subprocess
import time

import jwt
import pytest

from harness import ROOT, Stack, wait_until

EXAMPLES = ROOT / "docs" / "examples"
SECRET = "0123456789abcdef0123456789abcdef"
SECRETS = {"a": "a" + SECRET, "b": "b" + SECRET}


@pytest.fixture(scope="module")
def st():
    with Stack() as s:
        s.mkdir(s.var)
        keys = s.dir / "keys"
        keys.write_text(SECRET + "\n")
        keys.chmod(0o644)
        (s.dir / "access.conf").write_text("token read *\n")
        s.configure(access=s.dir / "access.conf", token_keys=keys)
        yield s


def held(st, token, code=0):
    done = st.walcast("token", "--check", "-", input=token)
    assert done.returncode == code, done.stderr
    return done.stdout.decode() if code == 0 else done.stderr.decode()


@pytest.mark.parametrize("argv", [
    ["php", "token.php"], ["perl", "token.pl"],
    ["/usr/bin/python3", "token.py"], ["node", "token.mjs"]],
    ids=["php", "perl", "python", "node"])
def test_an_example_makes_a_token_that_is_taken(st, argv):
    token = subprocess.run(
        [argv[0], EXAMPLES / argv[1], st.dir / "keys", "alice", "orders.*"],
        stdout=subprocess.PIPE, text=True, check=True, timeout=30).stdout
    lines = held(st, token).splitlines()
    assert "user alice" in lines and "read orders.*" in lines
    lives = [int(l.split()[1]) for l in lines if l.startswith("expires")][0]
    assert 3500 < lives - time.time() <= 3600
    code = [l for l in (EXAMPLES / argv[1]).read_text().splitlines()
            if l and not l.startswith(("#", "//", '"""', "<?php"))]
    assert len(code) <= 11, "ten lines, as promised"


def test_walcast_token_makes_what_others_can_read(st):
    done = st.walcast("token", "--user", "alice", "--read", "orders.*",
                      "--read", "news", "--publish", "chat.a", "--for", "15m",
                      "--id", "x-1", check=True)
    token = done.stdout.decode().strip()
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert claims["sub"] == "alice" and claims["jti"] == "x-1"
    assert claims["exp"] - claims["iat"] == 900
    assert claims["walcast"] == {"read": ["orders.*", "news"],
                                 "publish": ["chat.a"]}
    assert token.encode() not in done.stderr


KEYS = {
    "secret": None,
    "ec": ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"],
    "rsa": ["openssl", "genrsa", "2048"],
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", ["pem", "jwk"])
def test_each_kind_of_key_signs_and_verifies(kind, form):
    if kind == "secret" and form == "pem":
        pytest.skip("a secret is no PEM")
    with Stack() as st:
        st.mkdir(st.var)
        private, public = st.dir / "private", st.dir / "public"
        if kind == "secret":
            text = json.dumps({"keys": [{
                "kty": "oct", "kid": "k1", "alg": "HS256", "k": jwt.utils.
                base64url_encode(SECRET.encode()).decode()}]})
            private.write_text(text)
            public.write_text(text)
        else:
            pem = subprocess.run(KEYS[kind], stdout=subprocess.PIPE,
                                 check=True).stdout
            pub = subprocess.run(["openssl", "pkey", "-pubout"], input=pem,
                                 stdout=subprocess.PIPE, check=True).stdout
            algorithm = {"ec": jwt.algorithms.ECAlgorithm,
                         "rsa": jwt.algorithms.RSAAlgorithm}[kind]
            for path, raw in ((private, pem), (public, pub)):
                if form == "pem":
                    path.write_bytes(raw)
                    continue
                key = algorithm(algorithm.SHA256).prepare_key(raw)
                jwk = json.loads(to_jwk(kind, key))
                path.write_text(json.dumps({"keys": [dict(jwk, kid="k1")]}))
        for p in (private, public):
            p.chmod(0o644)
        st.configure(token_keys=private)
        token = st.walcast("token", "--user", "bob", "--read", "a",
                           check=True).stdout
        assert "user bob" in held(st, token)
        st.configure(token_keys=public)
        assert "user bob" in held(st, token)
        if kind != "secret":
            done = st.walcast("token", "--user", "bob")
            assert done.returncode != 0
            assert b"no key in token_keys can sign" in done.stderr


def to_jwk(kind, key):
    """RFC 7518, section 6."""
    def b64(n, size=None):
        size = size or (n.bit_length() + 7) // 8
        return jwt.utils.base64url_encode(n.to_bytes(size, "big")).decode()

    private = hasattr(key, "private_numbers")
    public = (key.public_key() if private else key).public_numbers()
    if kind == "rsa":
        out = dict(kty="RSA", n=b64(public.n), e=b64(public.e))
        if private:
            p = key.private_numbers()
            out.update(d=b64(p.d), p=b64(p.p), q=b64(p.q), dp=b64(p.dmp1),
                       dq=b64(p.dmq1), qi=b64(p.iqmp))
    else:
        out = dict(kty="EC", crv="P-256", x=b64(public.x, 32),
                   y=b64(public.y, 32))
        if private:
            out["d"] = b64(key.private_numbers().private_value, 32)
    return json.dumps(out)


@pytest.mark.parametrize("token, why", [
    ("", "malformed"), ("a.b.c", "malformed"),
    (jwt.encode({"exp": 4000000000, "sub": "a"}, "x" * 32), "signature"),
    (jwt.encode({"exp": 1}, SECRET), "expired"),
    (jwt.encode({"sub": "a"}, SECRET), "claims"),
    (jwt.encode({"exp": 4000000000}, SECRET, "HS512"), "algorithm")])
def test_what_is_wrong_with_a_token_is_told(st, token, why):
    assert why in held(st, token, code=1)


def test_rotation_needs_no_restart():
    with Stack() as own:
        keys = own.dir / "keys"
        access = own.dir / "access.conf"
        access.write_text("token read *\n")
        one, two = ({"kty": "oct", "kid": k, "k": jwt.utils.base64url_encode(
            SECRETS[k].encode()).decode()} for k in ("a", "b"))

        def put(*set):
            tmp = own.dir / "keys.new"
            tmp.write_text(json.dumps({"keys": set}))
            tmp.chmod(0o644)
            tmp.rename(keys)

        def status(kid):
            token = jwt.encode({"exp": int(time.time()) + 60, "walcast": {
                "read": ["x"]}}, SECRETS[kid], headers={"kid": kid})
            with web.stream({"channel": "x"}, headers={
                    "Authorization": "Bearer " + token}) as s:
                return s.status

        put(one)
        own.configure(access=access, token_keys=keys)
        own.start(metrics=False)
        web = own.front("lighttpd")
        assert (status("a"), status("b")) == (200, 401)
        put(one, two)
        wait_until(lambda: status("b") == 200, 10, "the new key")
        assert status("a") == 200
        keys.write_text("{broken")
        time.sleep(1.2)
        assert (status("a"), status("b")) == (200, 200), "the old ones stay"
        put(two)
        wait_until(lambda: status("a") == 401, 10, "the old key to go")
        assert status("b") == 200
