"""Data that is tokens already: folders of memory-mapped shards, written once and read in any order."""
