"""Vectors of many images by Ray Data, written as Parquet; a run that was killed goes on with --resume: the same rows.

    python examples/ray_embed.py MODEL IMAGES OUT [--bytes] [--resume] [--address auto]

IMAGES is a folder or a .txt file with a path in each line. By default the actors read the files themselves (paths that
every machine can read); with --bytes Ray reads them (any storage that Ray knows: s3://, gs://) and the actors get their
bytes. OUT becomes a folder of Parquet files with the columns path, embedding and error. Until the run is complete the
rows lie in OUT.parts; a run that goes on leaves out the paths that it finds there.

Needs `pip install '.[ray]'`.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys
import time

import pyarrow.parquet

import igq

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"}
ROWS_PER_FILE = 256  # what a killed run loses at most, for each processor


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an .igq file or a checkpoint folder, at the same place on every machine")
    parser.add_argument("images", help="a folder, or a .txt file with a path in each line")
    parser.add_argument("out", type=pathlib.Path, help="the folder to write")
    parser.add_argument("--bytes", action="store_true", help="let Ray read the files")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was killed")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rows-per-file", type=int, default=ROWS_PER_FILE)
    parser.add_argument("--actors", type=int, default=0, help="at most so many actors (0: one per processor)")
    parser.add_argument("--cpus", type=float, default=1, help="processors, and threads, of an actor")
    parser.add_argument("--address", help="of a running cluster, e.g. auto; without it a local one is started")
    parser.add_argument("--local-cpus", type=int, help="processors of the local one (default: all)")
    return parser.parse_args(arguments)


def list_images(source):
    path = pathlib.Path(source)
    if path.is_dir():
        return sorted(str(p.absolute()) for p in path.rglob("*") if p.suffix.lower() in ENDINGS)
    if path.suffix == ".txt" and path.exists():
        names = [line for line in path.read_text().splitlines() if line]
        return list(dict.fromkeys(name if "://" in name else os.path.abspath(name) for name in names))
    raise igq.Error(f"{source} is neither a folder nor a .txt file of paths: give one of these")


def model_key(path):
    """A checksum of the model's files: rows of two models are never mixed."""
    if not os.path.exists(path):
        return path  # of the hub's cache
    path = pathlib.Path(path)
    key = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
        key.update(file.name.encode() if path.is_dir() else b"")
        with open(file, "rb") as data:
            while piece := data.read(1 << 20):
                key.update(piece)
    return key.hexdigest()


def prepare(args):
    """The folder of an unfinished run. igq.Error when it does not fit what is asked."""
    parts = args.out.with_name(args.out.name + ".parts").absolute()
    if args.out.exists():
        raise igq.Error(f"{args.out} exists already: remove it, or give another name")
    if parts.exists() and not args.resume:
        raise igq.Error(f"{parts} is left of a run that was killed: go on with --resume, or remove it")
    run, key = parts / "_run.json", {"model": model_key(args.model), "igq": igq.version()}
    if run.exists() and json.loads(run.read_text()) != key:
        raise igq.Error(f"{parts} is of another model or another igq: remove it, or give the model that it is of")
    parts.mkdir(parents=True, exist_ok=True)
    write_whole(run, lambda temporary: temporary.write_text(json.dumps(key)))
    return parts


def write_whole(path, write):
    """write(temporary), then the name: nobody sees half a file."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)


def rows_done(parts):
    """Paths whose rows are written. What a killed run left unfinished has no footer; it is removed."""
    done = set()
    for file in parts.glob("*.parquet"):
        try:
            done.update(pyarrow.parquet.read_table(file, columns=["path"]).column("path").to_pylist())
        except pyarrow.ArrowInvalid:
            file.unlink()
    return done


def read(ray, args, images, parts):
    """A dataset with the column `path`, and with --bytes the column `bytes`."""
    blocks = max(1, -(-len(images) // args.rows_per_file))
    if args.bytes:
        return ray.data.read_binary_files(images, include_paths=True, override_num_blocks=blocks)
    rows = pyarrow.table({"path": pyarrow.array(images, pyarrow.string())})
    return ray.data.from_arrow([rows.slice(i * args.rows_per_file, args.rows_per_file) for i in range(blocks)])


def start_ray(ray, args):
    """How many actors the cluster has room for. igq.Error when one leaves no processor to read and write with."""
    # A machine of one processor is a cluster of two: reading and writing take next to nothing of it.
    local = {} if args.address else {"num_cpus": max(2, args.local_cpus or os.cpu_count()), "include_dashboard": False}
    ray.init(address=args.address, log_to_driver=False, **local)
    processors = ray.cluster_resources().get("CPU", 0)
    if processors < args.cpus + 1:
        raise igq.Error(
            f"the cluster has {processors:g} processors: actors of {args.cpus:g} leave none to read and write with; "
            "give a smaller --cpus"
        )
    return args.actors or int(processors / args.cpus)


def spilled_bytes():
    """What the object store put on disk because its memory was full: 0 as long as only paths, files, rows pass it."""
    try:
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        return int(get_memory_info_reply(state).store_stats.spilled_bytes_total)
    except Exception:  # Ray has no public call for it
        return None


def main(arguments=None):
    args = parse(arguments)
    images = list_images(args.images)
    if not images:
        raise igq.Error(f"{args.images} holds no images")
    igq.Model(args.model)  # a fault of the model is one line here, not a traceback of an actor
    parts = prepare(args)
    done = rows_done(parts)
    left = [path for path in images if path.split("://")[-1] not in done]  # Ray drops the s3:// of what it reads
    if done:
        print(f"going on after {len(done)} of {len(images)} images", file=sys.stderr)
    summary = embed(args, left, parts) if left else {"images": 0}
    (parts / "_run.json").unlink()
    os.replace(parts, args.out)
    print(json.dumps(summary, indent=2))


def embed(args, images, parts):
    """Writes the rows; returns the metrics."""
    import ray

    from igq.ray import Embedder, Metrics

    actors = start_ray(ray, args)
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    metrics = ray.remote(num_cpus=0)(Metrics).remote()
    start = time.monotonic()
    dataset = read(ray, args, images, parts).map_batches(
        Embedder,
        fn_constructor_kwargs={
            "model": os.path.abspath(args.model) if os.path.exists(args.model) else args.model,
            "column": "bytes" if args.bytes else "path",
            "metrics": metrics,
        },
        batch_format="pyarrow",
        batch_size=args.batch_size,
        num_cpus=args.cpus,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
    )
    dataset.write_parquet(str(parts))
    seconds = time.monotonic() - start
    summary = {
        **ray.get(metrics.summary.remote()),
        "seconds": round(seconds, 2),
        "spilled_bytes": spilled_bytes(),
    }
    ray.shutdown()
    return summary


if __name__ == "__main__":
    try:
        main()
    except igq.Error as fault:
        sys.exit(f"ray_embed: error: {fault}")
