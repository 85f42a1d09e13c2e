#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Access JWTs read by PyJWT, from the JWKS alone; and what PyJWT signs with a key that is not ours is no concern
of the list. Skips without PyJWT (python3-jwt).

usage: test_entry_jwt.py BUILD
"""
import json
import os
import subprocess
import sys

try:
    import jwt
except ImportError:
    print("ok 1 - PyJWT reads our tokens # SKIP no python3-jwt\n1..1")
    sys.exit(0)

SHOP, NOW = "https://shop.example", 1800000000


def main():
    program = os.path.join(sys.argv[1], "control/entry/test_entry_jwt")
    lines = subprocess.run([program, "make"], capture_output=True, text=True, check=True).stdout.splitlines()
    keys = jwt.PyJWKSet.from_dict(json.loads(lines[2]))
    for number, (token, algorithm) in enumerate(zip(lines, ("EdDSA", "ES256")), 1):
        header = jwt.get_unverified_header(token)
        assert header["alg"] == algorithm and header["typ"] == "at+jwt", header
        key = next(k for k in keys.keys if k.key_id == header["kid"])
        # Its times are those of a test; the signature, issuer and audience are what is checked.
        claims = jwt.decode(token, key.key, algorithms=[algorithm], audience="usher", issuer=SHOP,
                            options={"verify_exp": False, "verify_iat": False})
        assert claims["exp"] == NOW + 290 and claims["iat"] == NOW - 10
        assert claims["user"] == str(2**64 - 2) and claims["event"] == 7 and claims["sub"] == "u_abc"
        head, body, signature = token.split(".")
        for wrong in (head + "." + body + "." + ("A" if signature[0] != "A" else "B") + signature[1:],
                      head + "." + body[:-2] + "AA." + signature):
            try:
                jwt.decode(wrong, key.key, algorithms=[algorithm], options={"verify_signature": True, "verify_exp": False,
                           "verify_iat": False, "verify_aud": False})
            except jwt.InvalidTokenError:
                continue
            raise AssertionError("PyJWT takes a changed token")
        print(f"ok {number} - PyJWT reads our {algorithm} token")
    print("1..2")


if __name__ == "__main__":
    main()
