# Parquet files as pyarrow writes them (and so Hugging Face's datasets): python3 parquet.py, beside this file. pyarrow 25.0.1.
import os
import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))
n = 10
flat = pa.table({
    "id": pa.array(range(n), pa.int64()),
    "prompt": [f"question {i}" for i in range(n)],
    "completion": [f"answer {i % 3} ü" for i in range(n)],
    "extra": [None if i % 2 else [i, i + 1] for i in range(n)],
})
messages = pa.table({
    "messages": [[{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}] for i in range(4)],
})
for name, table, codec in [("flat-snappy", flat, "snappy"), ("flat-gzip", flat, "gzip"), ("messages-zstd", messages, "zstd")]:
    pq.write_table(table, os.path.join(here, f"{name}.parquet"), compression=codec, row_group_size=4)
