"""Tables of labels for tests, with what a row does not say left null."""

import polars as pl

from ntvep.schema import LABELS, check_labels


def labels(*rows: dict[str, object], **common: object) -> pl.DataFrame:
    """LABELS of rows ``{"at": "chr1:5:A:C", "label": True, ...}``; other keys are features."""
    full = []
    for row in rows:
        chrom, pos, ref, alt = str(row["at"]).split(":")
        allele = {"chrom": chrom, "pos": int(pos), "ref": ref, "alt": alt, "source": "test"}
        full.append(allele | common | {key: row[key] for key in row if key != "at"})
    schema = {column.name: column.dtype for column in LABELS}
    features = dict.fromkeys(
        (key for row in full for key in row if key not in schema), pl.Float64()
    )
    return check_labels(pl.DataFrame(full, schema=schema | features, orient="row"))
