"""Counts the rows of every table with Spark and Delta; runs in Spark's own environment.

usage: spark_counts.py JARS TABLES     -> one JSON object, the last line
"""

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession


def main() -> None:
    jars, folder = (Path(argument) for argument in sys.argv[1:])
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(str(jar) for jar in sorted(jars.glob("*.jar"))))
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config(
            "spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"
        )
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        # The defaults are for clusters: a table's log of some hundred lines in 50 tasks.
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    names = sorted(log.parent.name for log in folder.glob("*/_delta_log"))
    counts = {name: spark.read.format("delta").load(str(folder / name)).count() for name in names}
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
