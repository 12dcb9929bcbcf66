"""Content ids: the same content has the same id in every process, on every machine, in every version."""

import hashlib
import json

ID_LENGTH = 16
"""Hex digits of an id: 64 bits, so that among a million records two share an id by chance once in 37 million runs."""


def canonical(value: object) -> bytes:
    """Return the one JSON text of a value: keys sorted, no spaces, UTF-8; lone surrogates are kept as they are."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest(value: object) -> str:
    """Return the whole SHA-256 of a value's canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def content_id(kind: str, **fields: object) -> str:
    """Return the id of a record: the first 16 hex digits of the SHA-256 of its kind and content."""
    return digest([kind, fields])[:ID_LENGTH]


def short_hash(*texts: str) -> int:
    """Return 64 bits that stand for texts in their order: of a million, two different ones have the same once in 37
    million times. For sets of many texts that need not hold them."""
    hasher = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
    return int.from_bytes(hasher.digest(), "big")


def seed_of(*parts: object) -> int:
    """Return a seed in [0, 2**31) for these parts: stable across processes, unlike `hash`."""
    return int(digest([str(part) for part in parts])[:8], 16) & 0x7FFFFFFF
