#!/usr/bin/env python3
"""Reads a certificate of the compat level from the format alone, with Python's standard library.

Usage: read_compat.py FILE.der; prints JSON: tag, evidence and claims as hexadecimal, and whether the claims are of the
certificate's key. It knows DER and CBOR as far as the format needs them and shares nothing with the Rust code.
"""
import hashlib
import json
import sys

EVIDENCE = bytes([0x67, 0x81, 0x05, 0x05, 0x04, 0x09])  # 2.23.133.5.4.9
HASHES = {1: "sha256", 7: "sha384", 8: "sha512"}


def der(data, at):
    """Tag, contents and end of the element at an offset."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[at:at + count], "big"), at + count
    return tag, data[at:at + length], at + length


def elements(data):
    at, found = 0, []
    while at < len(data):
        tag, contents, end = der(data, at)
        found.append((tag, contents, data[at:end]))
        at = end
    return found


def cbor(data, at):
    """One item and where it ends. Maps become lists of pairs, so that a key twice shows."""
    major, info, at = data[at] >> 5, data[at] & 31, at + 1
    if info >= 24:
        size = 1 << (info - 24)
        assert size <= 8, "definite lengths only"
        info, at = int.from_bytes(data[at:at + size], "big"), at + size
    if major == 0:
        return info, at
    if major in (2, 3):
        raw = data[at:at + info]
        assert len(raw) == info, "truncated"
        return (raw if major == 2 else raw.decode()), at + info
    if major == 4:
        items = []
        for _ in range(info):
            item, at = cbor(data, at)
            items.append(item)
        return items, at
    if major == 5:
        pairs = []
        for _ in range(info):
            key, at = cbor(data, at)
            value, at = cbor(data, at)
            pairs.append((key, value))
        return pairs, at
    if major == 6:
        item, at = cbor(data, at)
        return ("tag", info, item), at
    raise ValueError(f"major type {major}")


def whole(data):
    item, end = cbor(data, 0)
    assert end == len(data), "trailing bytes"
    return item


def main():
    with open(sys.argv[1], "rb") as file:
        certificate = file.read()
    (_, contents, _), = elements(certificate)
    tbs = elements(contents)[0][1]
    fields = elements(tbs)
    # Version, serial, algorithm, issuer, validity, subject, key.
    spki = fields[6][2]
    extensions = next(contents for tag, contents, _ in fields if tag == 0xA3)
    value = None
    for _, extension, _ in elements(elements(extensions)[0][1]):
        parts = elements(extension)
        if parts[0][1] == EVIDENCE:
            assert parts[1][0] == 4, "not critical"
            value = parts[-1][1]
    _, tag, (evidence, claims) = whole(value)
    pairs = whole(claims)
    assert len({key for key, _ in pairs}) == len(pairs), "a key twice"
    algorithm, digest = whole(dict(pairs)["pubkey-hash"])
    json.dump({
        "tag": tag,
        "evidence": evidence.hex(),
        "claims": {key: value.hex() for key, value in pairs},
        "report_data": hashlib.sha256(claims).hexdigest() + "00" * 32,
        "is_own_key": hashlib.new(HASHES[algorithm], spki).digest() == digest,
    }, sys.stdout)


if __name__ == "__main__":
    main()
