"""Quantizes a model of timm to integers and says what was lost.

    python examples/quantize_timm.py --model vit_small_patch16_224 --calib photos/ -o model.igq [--bits w8a8]

With timm installed (`pip install timm`), its pretrained weights are fetched and saved as the folder NAME beside the
output. Without timm, or with --model FOLDER, a checkpoint folder is quantized: by default the ViT that is embedded in
igq's repository, with its calibration images.
"""

import argparse
import importlib.util
import pathlib
import sys

import igq

ASSETS = pathlib.Path(__file__).resolve().parents[1] / "assets"


def save_from_timm(name: str, folder: pathlib.Path) -> pathlib.Path:
    """config.json and model.safetensors of a pretrained model, as timm itself saves them."""
    import timm

    model = timm.create_model(name, pretrained=True)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder


def checkpoint(name: str, output: pathlib.Path) -> pathlib.Path:
    if name and pathlib.Path(name).is_dir():
        return pathlib.Path(name)
    if name and importlib.util.find_spec("timm"):
        return save_from_timm(name, output.with_name(name))
    if name:
        raise igq.Error(f"timm is not installed, so {name} cannot be fetched: pip install timm, or give a folder")
    return ASSETS / "fashion_vit"


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="", help="a name of timm, or a checkpoint folder")
    parser.add_argument("--calib", default=ASSETS / "fashion_mnist/calibration", help="a folder of a few dozen images")
    parser.add_argument("--bits", default="w8a8")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("model.igq"))
    args = parser.parse_args(arguments)

    def progress(stage: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{stage}: {done} of {total}    ", end="", file=sys.stderr)

    source = checkpoint(args.model, args.output)
    report = igq.quantize(source, args.calib, args.output, bits=args.bits, progress=progress)
    verdict = report["verdict"]
    print(f"{args.output}: {report['file_mb']:.2f} MB, calibrated on {report['calibration_images']} images")
    print(f"as float on {verdict['images']} images held back: {verdict['agreement']:.1f} %, "
          f"{verdict['logits_snr_db']:.1f} dB")  # fmt: skip
    for note in report["notes"]:
        print(note)


if __name__ == "__main__":
    try:
        main()
    except igq.Error as fault:
        sys.exit(f"quantize_timm: error: {fault}")
