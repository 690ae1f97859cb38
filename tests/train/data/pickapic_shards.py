"""Parquet shards of Pick-a-Pic's real schema (paper index section 1), with tiny images."""

import datetime
import io
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

# As the data set's card on the Hub has it.
SCHEMA = pa.schema(
    {
        "are_different": pa.bool_(),
        "best_image_uid": pa.string(),
        "caption": pa.string(),
        "created_at": pa.timestamp("ns"),
        "has_label": pa.bool_(),
        "image_0_uid": pa.string(),
        "image_0_url": pa.string(),
        "image_1_uid": pa.string(),
        "image_1_url": pa.string(),
        "jpg_0": pa.binary(),
        "jpg_1": pa.binary(),
        "label_0": pa.float64(),
        "label_1": pa.float64(),
        "model_0": pa.string(),
        "model_1": pa.string(),
        "ranking_id": pa.int64(),
        "user_id": pa.int64(),
        "num_example_per_prompt": pa.int64(),
        "__index_level_0__": pa.int64(),
    }
)
FIRST_DAY = datetime.datetime(2023, 1, 1)


def jpeg(seed: int | str) -> bytes:
    """A noise image, another for every seed."""
    pixels = np.random.default_rng(zlib.crc32(str(seed).encode())).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def row(user: int | None, liked: str, disliked: str, number: int = 0, flipped: bool = False, **changed) -> dict:
    """One row, with the liked image first unless `flipped`; `changed` replaces columns."""
    first, second = (disliked, liked) if flipped else (liked, disliked)
    whole = {
        "are_different": True,
        "best_image_uid": liked,
        "caption": f"prompt {number // 3}",
        "created_at": FIRST_DAY + datetime.timedelta(hours=number),
        "has_label": True,
        "image_0_uid": first,
        "image_0_url": f"https://example.invalid/{first}.png",
        "image_1_uid": second,
        "image_1_url": f"https://example.invalid/{second}.png",
        "jpg_0": jpeg(first),
        "jpg_1": jpeg(second),
        "label_0": 0.0 if flipped else 1.0,
        "label_1": 1.0 if flipped else 0.0,
        "model_0": "some/model",
        "model_1": "some/model",
        "ranking_id": number,
        "user_id": user,
        "num_example_per_prompt": 3,
        "__index_level_0__": number,
    }
    return whole | changed


def person(user: int, pairs: int) -> list[dict]:
    """A user's rows, in which every image is new; one row in three has the liked image second."""
    return [row(user, f"u{user}-{i}-yes", f"u{user}-{i}-no", i, flipped=i % 3 == 2) for i in range(pairs)]


def write_shards(folder, rows: list[dict], shards: int = 2) -> None:
    """Spread rows over shards, a few to a row group."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        table = pa.Table.from_pylist(rows[shard::shards], schema=SCHEMA)
        pq.write_table(table, folder / f"train-{shard:05d}-of-{shards:05d}.parquet", row_group_size=16)
