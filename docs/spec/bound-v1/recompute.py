#!/usr/bin/env python3
"""Recomputes bound-v1's vectors from docs/spec/bound-v1.md alone, with nothing but Python's standard library.

Usage: recompute.py [vectors.json]; exit status 0 if every value agrees, 1 with the first that does not.
With --write it prints the vectors instead, from the inputs below.
"""
import hashlib
import hmac
import json
import os
import sys

LABEL = b"EXPERIMENTAL-inclavare-bound-v1"
TAG = b"EAA-BOUND-V1" + bytes(4)
HASHES = {"TLS_AES_128_GCM_SHA256": hashlib.sha256, "TLS_AES_256_GCM_SHA384": hashlib.sha384}


def sha384(*parts):
    return hashlib.sha384(b"".join(parts)).digest()


def u8(n):
    return n.to_bytes(1, "big")


def u16(n):
    return n.to_bytes(2, "big")


def u32(n):
    return n.to_bytes(4, "big")


def frame(kind, body):
    return u8(kind) + u32(len(body)) + body


def hello(kind, fields):
    formats = fields["formats"]
    body = u16(1) + u8(fields["flags"]) + u8(len(formats))
    body += b"".join(map(u16, formats)) + bytes.fromhex(fields["nonce"])
    return frame(kind, body)


def reattest(fields, epoch):
    return frame(6, bytes.fromhex(fields["nonce"]) + u32(epoch))


def hkdf_expand_label(hash_function, secret, label, context, length):
    """RFC 8446, section 7.1."""
    label = b"tls13 " + label
    info = u16(length) + u8(len(label)) + label + u8(len(context)) + context
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(secret, block + info + u8(counter), hash_function).digest()
        out += block
        counter += 1
    return out[:length]


def exporter(suite, secret, label, context, length):
    """RFC 8446, section 7.5; `secret` is the exporter_master_secret."""
    h = HASHES[suite]
    derived = hkdf_expand_label(h, secret, label, h(b"").digest(), h().digest_size)
    return hkdf_expand_label(h, derived, b"exporter", h(context).digest(), length)


def cbor_head(major, n):
    if n < 24:
        return u8(major << 5 | n)
    if n < 256:
        return u8(major << 5 | 24) + u8(n)
    return u8(major << 5 | 25) + u16(n)


def cbor_map(entries):
    pairs = [(cbor_head(3, len(k)) + k.encode(), bytes.fromhex(v)) for k, v in entries.items()]
    body = b"".join(k + cbor_head(2, len(v)) + v for k, v in sorted(pairs))
    return cbor_head(5, len(pairs)) + body


def compute(case):
    epoch, role = case["epoch"], {"client": 1, "server": 2}[case["role"]]
    if epoch == 0:
        client, server = hello(1, case["client"]), hello(2, case["server"])
    else:
        client, server = reattest(case["client"], epoch), reattest(case["server"], epoch)
    claims = cbor_map(case["platform_claims"])
    if case["custom_claims"]:
        claims += cbor_map(case["custom_claims"])
    transcript = sha384(client, server)
    secret = bytes.fromhex(case["exporter_master_secret"])
    context = transcript + u8(role) + u32(epoch)
    binder = exporter(case["cipher_suite"], secret, LABEL, context, 48)
    own = sha384(bytes.fromhex(case["own_spki"]))
    peer = sha384(bytes.fromhex(case["peer_spki"])) if case["peer_spki"] else bytes(48)
    h = sha384(b"inclavare-bound-v1\0", u8(role), u32(epoch), own, peer, transcript, binder, sha384(claims))
    body = u32(epoch) + u16(1)
    for field in (bytes.fromhex(case["evidence"]), claims, b""):
        body += u32(len(field)) + field
    return {
        "client_frame": client.hex(),
        "server_frame": server.hex(),
        "transcript": transcript.hex(),
        "binder": binder.hex(),
        "claims": claims.hex(),
        "hash": h.hex(),
        "report_data": (h + TAG).hex(),
        "evidence_frame": frame(3, body).hex(),
    }


def inputs():
    """The cases: both roles, both hashes, with and without a client key, opening and re-attestation."""
    def nonce(fill):
        return bytes((fill + i) % 256 for i in range(32)).hex()

    # SubjectPublicKeyInfo of P-256 keys; the point's bytes are arbitrary here.
    head = "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
    spki = [head + bytes((fill + i) % 256 for i in range(64)).hex() for fill in (1, 101)]
    platform = {"instance-id": "22" * 16, "config-digest": "11" * 32, "runtime-version": b"0.1.0".hex()}
    hellos = {
        "client": {"flags": 2, "formats": [1, 2], "nonce": nonce(0x10)},
        "server": {"flags": 1, "formats": [], "nonce": nonce(0x80)},
    }
    mutual = {
        "client": {"flags": 3, "formats": [1], "nonce": nonce(0x33)},
        "server": {"flags": 3, "formats": [1, 3], "nonce": nonce(0x44)},
    }
    base = {
        "epoch": 0, "role": "server", "cipher_suite": "TLS_AES_128_GCM_SHA256",
        "exporter_master_secret": "5a" * 32, "own_spki": spki[0], "peer_spki": "",
        "platform_claims": platform, "custom_claims": {}, "evidence": "01020304",
    }
    sha384_suite = {"cipher_suite": "TLS_AES_256_GCM_SHA384", "exporter_master_secret": "a5" * 48}
    again = {"client": {"nonce": nonce(0x55)}, "server": {"nonce": nonce(0x66)}, "epoch": 1}
    return [
        {"name": "one-way, the server attests", **base, **hellos},
        {"name": "mutual, the client's evidence", **base, **mutual, **sha384_suite,
         "role": "client", "peer_spki": spki[1],
         "custom_claims": {"service": b"billing".hex(), "z": "00", "region": b"eu".hex()}},
        {"name": "mutual, the server's evidence", **base, **mutual, **sha384_suite,
         "own_spki": spki[1], "peer_spki": spki[0]},
        {"name": "re-attestation", **base, **again},
    ]


def main():
    if "--write" in sys.argv:
        cases = [{**case, "expected": compute(case)} for case in inputs()]
        json.dump(cases, sys.stdout, indent=2)
        print()
        return 0
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "vectors.json")
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    count = 0
    for case in cases:
        got = compute(case)
        for field, expected in case["expected"].items():
            if got.get(field) != expected:
                print(f"{case['name']}: {field}: expected {expected}, got {got.get(field)}")
                return 1
            count += 1
    print(f"{len(cases)} vectors, {count} values agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
