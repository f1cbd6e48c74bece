"""Runs the exact stages in another engine over given parquet files, and says what that cost.

usage: run.py {duckdb,datafusion} --files FILES.json --out DIR [--threads 2]

FILES.json holds the parquet files of each raw table. The hop and path rows go to DIR; the last line
printed is JSON with rows, bytes, seconds and memory.
"""

import argparse
import json
import pathlib
import resource
import time

import stages

OUTPUTS = ("hop", "path")


def run_duckdb(files, out, threads):
    import duckdb

    connection = duckdb.connect(config={"threads": threads})
    connection.execute(f"set temp_directory = '{out / 'spill'}'")
    connection.execute("set preserve_insertion_order = false")
    for table, paths in files.items():
        if paths:
            connection.read_parquet(paths, hive_partitioning=False).create_view(table)
    for name, query, is_kept in stages.stages(stages.DUCKDB):
        connection.execute(f"create temp {'table' if is_kept else 'view'} {name} as {query}")
    for name in OUTPUTS:
        path = out / f"{name}.parquet"
        connection.execute(f"copy {name} to '{path}' (format parquet, compression zstd)")
    return duckdb.__version__


def run_datafusion(files, out, threads):
    import datafusion

    config = datafusion.SessionConfig().with_target_partitions(threads)
    context = datafusion.SessionContext(config)
    for table, paths in files.items():
        if paths:
            context.register_parquet(table, str(folder_of(paths, out / "raw" / table)))
    for name, query, is_kept in stages.stages(stages.DATAFUSION):
        rows = context.sql(query)
        context.register_view(name, rows.cache() if is_kept else rows)
    for name in OUTPUTS:
        context.table(name).write_parquet(str(out / f"{name}.parquet"), compression="zstd")
    return datafusion.__version__


def folder_of(paths, folder):
    """A folder with exactly these files in it: the engine takes a folder and no list."""
    folder.mkdir(parents=True)
    for number, path in enumerate(paths):
        (folder / f"{number}.parquet").symlink_to(pathlib.Path(path).absolute())
    return folder


def count(path):
    import pyarrow.parquet

    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return sum(pyarrow.parquet.ParquetFile(file).metadata.num_rows for file in files), sum(
        file.stat().st_size for file in files
    )


def peak_rss_mib():
    """Of this program: `ru_maxrss` would be that of the process which started it, where that is larger."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["duckdb", "datafusion"])
    parser.add_argument("--files", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    files = json.loads(options.files.read_text())
    run = {"duckdb": run_duckdb, "datafusion": run_datafusion}[options.engine]

    started = time.monotonic()
    version = run(files, options.out, options.threads)
    wall_s = time.monotonic() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    hops, paths = (count(options.out / f"{name}.parquet") for name in OUTPUTS)
    print(
        json.dumps(
            {
                "engine": options.engine,
                "version": version,
                "wall_s": wall_s,
                "cpu_s": used.ru_utime + used.ru_stime,
                "peak_rss_mib": peak_rss_mib(),
                "hops": hops[0],
                "paths": paths[0],
                "bytes": hops[1] + paths[1],
            }
        )
    )


if __name__ == "__main__":
    main()
