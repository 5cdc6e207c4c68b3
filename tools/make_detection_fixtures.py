#!/usr/bin/env python3
"""Small fixtures for tests/detection and tests/coco: what pycocotools, torchvision and OpenCV say about random inputs.

    python tools/make_detection_fixtures.py            # writes tests/fixtures/detection

operations.json: masks of polygons, overlaps, NMS, RoIAlign, resized pixels. coco/: annotations, detections and the
figures of COCO's metric. Fixed seeds; torchvision's nms and roi_align (aligned, sampling_ratio 0) equal mmcv's.

Needs: pip install numpy torch torchvision pycocotools opencv-python-headless
"""
import argparse
import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.ops import batched_nms, nms, roi_align


def numbers(values, digits=None):
    """A nested list; float32 values are written with the digits that read back as the same float32."""
    values = np.asarray(values)
    if values.dtype == np.float32:
        return json.loads(json.dumps([float(str(v)) for v in values.ravel()]))
    return values.ravel().tolist() if digits is None else np.round(values.ravel(), digits).tolist()


def polygons(rng):
    """Random polygons, some beyond the picture, on whole pixels, on fifths, with edges of every slope."""
    cases = []
    for number in range(60):
        h, w = (int(v) for v in rng.integers(1, 60, 2))
        xy = rng.normal(0.5, 0.5, (int(rng.integers(3, 9)), 2)) * [w, h]
        xy = [xy, np.round(xy), np.round(xy * 5) / 5, np.round(xy * 10) / 10][number % 4]
        points = [float(v) for v in xy.ravel()]
        run_lengths = coco_mask.frPyObjects([points], h, w)[0]
        cases.append({"height": h, "width": w, "polygon": points, "counts": run_lengths["counts"].decode(),
                      "area": int(coco_mask.area(run_lengths)), "box": coco_mask.toBbox(run_lengths).tolist()})
    return cases


def overlaps(rng):
    """IoU of masks and of boxes, with and without crowds."""
    cases = []
    for _ in range(20):
        h, w = (int(v) for v in rng.integers(8, 40, 2))
        masks = [coco_mask.encode(np.asfortranarray((cv2.GaussianBlur(rng.random((h, w)), (5, 5), 1) > 0.5).astype(np.uint8)))
                 for _ in range(2)]
        boxes = [[float(v) for v in np.round(rng.uniform(0, 20, 4), 2)] for _ in range(2)]
        for crowd in (0, 1):
            cases.append({"height": h, "width": w, "masks": [m["counts"].decode() for m in masks], "crowd": crowd,
                          "mask_iou": float(coco_mask.iou([masks[0]], [masks[1]], [crowd])[0][0]), "boxes": boxes,
                          "box_iou": float(coco_mask.iou(np.array(boxes[:1]), np.array(boxes[1:]), [crowd])[0][0]),
                          "union": coco_mask.merge(masks)["counts"].decode()})
    return cases


def suppressions(rng):
    """NMS with and without groups; scores are all different."""
    cases = []
    for count, threshold in ((1, 0.5), (40, 0.3), (150, 0.5), (150, 0.7)):
        corner = rng.uniform(0, 60, (count, 2)).astype(np.float32)
        boxes = np.concatenate([corner, corner + rng.uniform(0, 40, (count, 2)).astype(np.float32)], 1)
        scores = (rng.permutation(count) / count).astype(np.float32)
        ids = rng.integers(0, 3, count)
        b, s = torch.from_numpy(boxes), torch.from_numpy(scores)
        cases.append({"boxes": numbers(boxes), "scores": numbers(scores), "ids": ids.tolist(), "threshold": threshold,
                      "kept": nms(b, s, threshold).tolist(),
                      "kept_by_id": batched_nms(b, s, torch.from_numpy(ids), threshold).tolist()})
    return cases


def alignments(rng):
    """RoIAlign of small maps, channels last in the file; boxes inside, across the border, empty and tiny."""
    cases = []
    for height, width, channels, bins, stride in ((6, 9, 3, 2, 4), (13, 7, 2, 3, 8)):
        features = rng.normal(size=(height, width, channels)).astype(np.float32)
        x, y = width * stride, height * stride
        rois = np.array([[1, 2, x - 3, y - 1], [0, 0, x, y], [5.5, 3.25, 5.5, 9], [2, 2, 2.5, 2.5], [x - 4, y - 4, x, y]],
                        np.float32)
        out = roi_align(torch.from_numpy(features).permute(2, 0, 1)[None], [torch.from_numpy(rois)], bins, 1 / stride, 0, True)
        cases.append({"height": height, "width": width, "channels": channels, "bins": bins, "stride": stride,
                      "features": numbers(features), "rois": numbers(rois),
                      "pooled": numbers(out.permute(0, 2, 3, 1).contiguous().numpy())})
    return cases


def resizes(rng):
    """cv2.resize, INTER_LINEAR, of random pixels."""
    cases = []
    for height, width, to_height, to_width in ((7, 9, 13, 5), (8, 6, 4, 3), (5, 5, 11, 11), (1, 1, 3, 4), (20, 3, 7, 2),
                                               (8, 6, 4, 6), (3, 40, 4, 13)):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        resized = cv2.resize(pixels, (to_width, to_height), interpolation=cv2.INTER_LINEAR)
        cases.append({"height": height, "width": width, "to_height": to_height, "to_width": to_width,
                      "pixels": pixels.ravel().tolist(), "resized": resized.ravel().tolist()})
    return cases


def coco_set(rng, out):
    """A small evaluation with crowds, ties, gaps in ids, an image without objects and one without detections."""
    images = [{"id": int(i), "height": 60, "width": 80} for i in (12, 3, 40, 7)]
    categories = [{"id": c, "name": f"class {c}"} for c in (2, 5, 9)]
    annotations, detections = [], []
    for image in images[:3]:
        for _ in range(8):
            centre, radius = rng.uniform(5, 55, 2), rng.uniform(3, 25)
            angles = np.sort(rng.uniform(0, 6.28, 7))
            points = [[float(round(v, 2)) for xy in zip(centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles))
                       for v in xy]]
            run_lengths = coco_mask.merge(coco_mask.frPyObjects(points, 60, 80))
            crowd = int(rng.random() < 0.2)
            box = [float(v) for v in coco_mask.toBbox(run_lengths)]
            category = int(rng.choice([2, 5]))
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": category, "iscrowd": crowd,
                                "area": float(coco_mask.area(run_lengths)), "bbox": box,
                                "segmentation": points if not crowd else
                                {"size": [60, 80], "counts": run_lengths["counts"].decode()}})
            if image["id"] == 40:
                continue
            for _ in range(int(rng.integers(0, 3))):
                moved = [[v + float(rng.normal(0, 1)) for v in points[0]]]
                run_lengths = coco_mask.merge(coco_mask.frPyObjects(moved, 60, 80))
                detections.append({"image_id": image["id"], "category_id": category if rng.random() < 0.8 else 9,
                                   "score": round(float(rng.random()), 1),
                                   "segmentation": {"size": [60, 80], "counts": run_lengths["counts"].decode()}})
    out.mkdir(parents=True, exist_ok=True)
    (out / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories}, indent=0) + "\n")
    (out / "detections.json").write_text(json.dumps(detections, indent=0) + "\n")
    stats = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(out / "annotations.json")
        found = truth.loadRes(str(out / "detections.json"))
        for kind in ("bbox", "segm"):
            evaluation = COCOeval(truth, found, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            stats[kind] = [float(v) for v in evaluation.stats]
    (out / "expected.json").write_text(json.dumps(stats, indent=0) + "\n")


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures/detection"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    made = {"polygons": polygons(np.random.default_rng(1)), "overlaps": overlaps(np.random.default_rng(2)),
            "nms": suppressions(np.random.default_rng(3)), "roi_align": alignments(np.random.default_rng(4)),
            "resize": resizes(np.random.default_rng(5))}
    (args.out / "operations.json").write_text(json.dumps(made) + "\n")
    coco_set(np.random.default_rng(6), args.out / "coco")


if __name__ == "__main__":
    main()
