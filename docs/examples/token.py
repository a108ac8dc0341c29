#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A token for a reader: token.py KEYFILE USER CHANNEL"""
import base64, hashlib, hmac, json, sys, time, uuid
file, user, channel = sys.argv[1:]
key = open(file, "rb").read().rstrip(b"\r\n")
part = lambda b: base64.urlsafe_b64encode(b).rstrip(b"=")
text = b".".join(part(json.dumps(o).encode()) for o in (
    {"alg": "HS256", "typ": "JWT"},
    {"sub": user, "iat": int(time.time()), "exp": int(time.time()) + 3600,
     "jti": uuid.uuid4().hex, "walcast": {"read": [channel]}}))
print((text + b"." + part(hmac.digest(key, text, hashlib.sha256))).decode())
