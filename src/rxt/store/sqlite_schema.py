"""The tables of an SQLite store."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE turns (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    created REAL NOT NULL,
    parent TEXT,
    conversation TEXT,
    prefix TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('answered', 'memorized')),
    body TEXT NOT NULL,
    digest TEXT NOT NULL,
    memory BLOB,
    checksum TEXT,
    bytes INTEGER NOT NULL,
    CHECK ((status = 'memorized') = (memory IS NOT NULL AND checksum IS NOT NULL))
);
CREATE INDEX turns_by_prefix ON turns (owner, prefix);
CREATE INDEX turns_by_parent ON turns (parent);
CREATE INDEX turns_by_conversation ON turns (conversation);
CREATE INDEX turns_unfinished ON turns (number) WHERE status = 'answered';
CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    head TEXT,
    metadata TEXT NOT NULL,
    holder TEXT,
    held_until REAL NOT NULL DEFAULT 0
);
CREATE INDEX conversations_by_use ON conversations (owner, updated);
CREATE INDEX conversations_by_head ON conversations (head);
"""
# Of memories that users have; as the tables of pools, for stores that were made before.
USERS = """
CREATE TABLE IF NOT EXISTS told (
    turn INTEGER PRIMARY KEY REFERENCES turns (number) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    user TEXT NOT NULL,
    follows TEXT
);
CREATE INDEX IF NOT EXISTS told_by_user ON told (owner, user);
CREATE INDEX IF NOT EXISTS told_by_follows ON told (follows);
CREATE TABLE IF NOT EXISTS user_memories (
    owner TEXT NOT NULL,
    user TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    head TEXT NOT NULL,
    PRIMARY KEY (owner, user, fingerprint)
);
CREATE INDEX IF NOT EXISTS user_memories_by_head ON user_memories (head);
"""
# Of pools; stores that were made before there were any get them when they are opened.
FRAGMENTS = """
CREATE TABLE IF NOT EXISTS fragments (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS uses (
    turn INTEGER NOT NULL REFERENCES turns (number) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    fragment INTEGER NOT NULL REFERENCES fragments (number),
    PRIMARY KEY (turn, place)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_by_fragment ON uses (fragment);
CREATE TRIGGER IF NOT EXISTS fragment_unused AFTER DELETE ON uses
WHEN NOT EXISTS (SELECT 1 FROM uses WHERE fragment = OLD.fragment)
BEGIN
    DELETE FROM fragments WHERE number = OLD.fragment;
END;
"""
