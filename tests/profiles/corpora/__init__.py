"""The profiles over recorded corpora: what is right, wrong, rejected, unclaimed, by dialect.

`./dev corpora` prints the table; it needs EDGE_GATEWAY_CORPORA, a folder with ``<name>/samples.jsonl``. What a record
must decode to stands in its `expect`, in the names of whoever recorded it; a file in `dialects/` says what these are
in ours. `explained.toml` says of single records why they are not as they expect.
"""
