"""A small Mask R-CNN with a Swin backbone in plain PyTorch, whose state dict has mmdetection's names and orders.

What it computes is Mask R-CNN of mmdetection 3 with the configuration `mmdet_config` gives; class-agnostic boxes, and
layers as narrow as a few megabytes ask for. Used by train_detector.py; nothing of it is needed to run the model.
"""
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms, roi_align

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
EMBED, DEPTHS, HEADS, WINDOW = 32, [2, 2, 2, 2], [1, 2, 4, 8], 4
FPN, FC, MASK_CONVS = 48, 192, 2
STRIDES, RATIOS, SCALE = [4, 8, 16, 32, 64], [0.5, 1.0, 2.0], 8
BOX_STDS = torch.tensor([0.1, 0.1, 0.2, 0.2])


def mmdet_config(categories, side):
    """config.json in mmengine's resolved form, for inputs resized to side x side."""
    def coder(stds):
        return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": stds}

    def extractor(size):
        return {"type": "SingleRoIExtractor", "roi_layer": {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0},
                "out_channels": FPN, "featmap_strides": STRIDES[:4]}
    classes = len(categories)
    model = {
        "type": "MaskRCNN",
        "data_preprocessor": {"type": "DetDataPreprocessor", "mean": MEAN, "std": STD, "bgr_to_rgb": True,
                              "pad_mask": True, "pad_size_divisor": 32},
        "backbone": {"type": "SwinTransformer", "embed_dims": EMBED, "depths": DEPTHS, "num_heads": HEADS,
                     "window_size": WINDOW, "mlp_ratio": 4, "qkv_bias": True, "qk_scale": None, "drop_rate": 0.0,
                     "attn_drop_rate": 0.0, "drop_path_rate": 0.0, "patch_norm": True, "out_indices": [0, 1, 2, 3],
                     "with_cp": False, "convert_weights": False, "init_cfg": None},
        "neck": {"type": "FPN", "in_channels": [EMBED << i for i in range(4)], "out_channels": FPN, "num_outs": 5},
        "rpn_head": {"type": "RPNHead", "in_channels": FPN, "feat_channels": FPN,
                     "anchor_generator": {"type": "AnchorGenerator", "scales": [SCALE], "ratios": RATIOS,
                                          "strides": STRIDES},
                     "bbox_coder": coder([1.0] * 4),
                     "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
                     "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0}},
        "roi_head": {"type": "StandardRoIHead", "bbox_roi_extractor": extractor(7), "mask_roi_extractor": extractor(14),
                     "bbox_head": {"type": "Shared2FCBBoxHead", "in_channels": FPN, "fc_out_channels": FC,
                                   "roi_feat_size": 7, "num_classes": classes, "bbox_coder": coder([0.1, 0.1, 0.2, 0.2]),
                                   "reg_class_agnostic": True,
                                   "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
                                   "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0}},
                     "mask_head": {"type": "FCNMaskHead", "num_convs": MASK_CONVS, "in_channels": FPN,
                                   "conv_out_channels": FPN, "num_classes": classes,
                                   "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0}}},
        "train_cfg": None,
        "test_cfg": {"rpn": {"nms_pre": 200, "max_per_img": 100, "nms": {"type": "nms", "iou_threshold": 0.7},
                             "min_bbox_size": 0},
                     "rcnn": {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100,
                              "mask_thr_binary": 0.5}}}
    return {"model": model, "classes": categories,
            "test_pipeline": [{"type": "LoadImageFromFile"}, {"type": "Resize", "scale": [side, side], "keep_ratio": True},
                              {"type": "PackDetInputs", "meta_keys": ["ori_shape", "img_shape", "scale_factor"]}]}


# --- Backbone -------------------------------------------------------------------------------------------------------

class WindowAttention(nn.Module):
    """Attention within windows of WINDOW x WINDOW tokens with a relative position bias."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        at = torch.stack(torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")).flatten(1)
        relative = at[:, :, None] - at[:, None] + WINDOW - 1
        self.register_buffer("relative_position_index", relative[0] * (2 * WINDOW - 1) + relative[1])
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x, mask):
        """x [n, tokens, width]; mask [windows of an image, tokens, tokens] or None."""
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        scores = scores + bias.view(tokens, tokens, -1).permute(2, 0, 1)
        if mask is not None:
            scores = (scores.view(-1, len(mask), self.heads, tokens, tokens) + mask[:, None]).view(scores.shape)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width))


def shift_mask(height, width):
    """[windows, tokens, tokens]: -100 between tokens of different regions of the shifted map."""
    shift = WINDOW // 2
    cuts = (slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None))
    regions = torch.zeros(height, width)
    for number, (rows, columns) in enumerate((a, b) for a in cuts for b in cuts):
        regions[rows, columns] = number
    ids = windows_of(regions[None, :, :, None])[..., 0]
    return (ids[:, :, None] != ids[:, None]).float() * -100.0


def windows_of(x):
    """[n, height, width, c] -> [n * windows, tokens, c]."""
    n, height, width, c = x.shape
    x = x.view(n, height // WINDOW, WINDOW, width // WINDOW, WINDOW, c)
    return x.transpose(2, 3).reshape(-1, WINDOW * WINDOW, c)


class ShiftedWindows(nn.Module):
    """Padding to whole windows, the shift, attention, and all of it undone."""

    def __init__(self, width, heads, shift):
        super().__init__()
        self.w_msa = WindowAttention(width, heads)
        self.shift = shift
        self.masks = {}

    def forward(self, x):
        """[n, height, width, c] -> the same shape."""
        n, height, width, c = x.shape
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        padded = x.shape[1:3]
        mask = None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
            if padded not in self.masks:
                self.masks[padded] = shift_mask(*padded)
            mask = self.masks[padded]
        x = self.w_msa(windows_of(x), mask)
        x = x.view(n, padded[0] // WINDOW, padded[1] // WINDOW, WINDOW, WINDOW, c).transpose(2, 3).reshape(n, *padded, c)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :height, :width]


class FeedForward(nn.Module):
    """Two linear layers, under mmcv's names."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(width, 4 * width), nn.GELU()), nn.Linear(4 * width, width)])

    def forward(self, x):
        """[..., width] -> the same shape."""
        return self.layers[1](self.layers[0](x))


class Block(nn.Module):
    """A pre-norm Swin block."""

    def __init__(self, width, heads, shift):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = ShiftedWindows(width, heads, shift)
        self.ffn = FeedForward(width)

    def forward(self, x):
        """[n, height, width, c] -> the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Merging(nn.Module):
    """2x2 tokens to one, in the order of nn.Unfold: channel-major, rows before columns."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        """[n, height, width, c] -> [n, height / 2, width / 2, 2 c]."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        n, height, width, c = x.shape
        x = x.view(n, height // 2, 2, width // 2, 2, c).permute(0, 1, 3, 5, 2, 4).flatten(3)
        return self.reduction(self.norm(x))


class Stage(nn.Module):
    """Blocks and the merging that follows them."""

    def __init__(self, width, depth, heads, last):
        super().__init__()
        self.blocks = nn.ModuleList([Block(width, heads, i % 2 * (WINDOW // 2)) for i in range(depth)])
        if not last:
            self.downsample = Merging(width)


class PatchEmbed(nn.Module):
    """4x4 pixels to a token."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Conv2d(3, EMBED, 4, 4)
        self.norm = nn.LayerNorm(EMBED)


class Swin(nn.Module):
    """mmdetection's SwinTransformer."""

    def __init__(self):
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.stages = nn.ModuleList([Stage(EMBED << i, DEPTHS[i], HEADS[i], i == 3) for i in range(4)])
        for i in range(4):
            self.add_module(f"norm{i}", nn.LayerNorm(EMBED << i))

    def forward(self, x):
        """[n, 3, h, w] -> four maps of strides 4, 8, 16, 32."""
        x = self.patch_embed.norm(self.patch_embed.projection(x).permute(0, 2, 3, 1))
        maps = []
        for i, stage in enumerate(self.stages):
            for block in stage.blocks:
                x = block(x)
            maps.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2).contiguous())
            if i < 3:
                x = stage.downsample(x)
        return maps


# --- Heads ----------------------------------------------------------------------------------------------------------

class ConvModule(nn.Module):
    """mmcv's wrapper of a convolution."""

    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x):
        """A plain convolution."""
        return self.conv(x)


class FeaturePyramid(nn.Module):
    """P2 to P6."""

    def __init__(self):
        super().__init__()
        self.lateral_convs = nn.ModuleList([ConvModule(EMBED << i, FPN, 1) for i in range(4)])
        self.fpn_convs = nn.ModuleList([ConvModule(FPN, FPN, 3) for _ in range(4)])

    def forward(self, maps):
        """Four maps -> five of FPN channels."""
        x = [conv(m) for conv, m in zip(self.lateral_convs, maps)]
        for i in (3, 2, 1):
            x[i - 1] = x[i - 1] + F.interpolate(x[i], size=x[i - 1].shape[2:], mode="nearest")
        x = [conv(m) for conv, m in zip(self.fpn_convs, x)]
        return x + [F.max_pool2d(x[3], 1, 2)]


class RpnHead(nn.Module):
    """Objectness and deltas of every anchor."""

    def __init__(self):
        super().__init__()
        self.rpn_conv = nn.Conv2d(FPN, FPN, 3, padding=1)
        self.rpn_cls = nn.Conv2d(FPN, len(RATIOS), 1)
        self.rpn_reg = nn.Conv2d(FPN, 4 * len(RATIOS), 1)

    def forward(self, maps):
        """Five maps -> logits [n, anchors], deltas [n, anchors, 4], anchors in the order (level, y, x, ratio)."""
        logits, deltas = [], []
        for m in maps:
            m = F.relu(self.rpn_conv(m))
            logits.append(self.rpn_cls(m).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.rpn_reg(m).permute(0, 2, 3, 1).reshape(len(m), -1, 4))
        return logits, deltas


class BoxHead(nn.Module):
    """Two fully connected layers, classes (background last) and class-agnostic deltas."""

    def __init__(self, classes):
        super().__init__()
        self.shared_fcs = nn.ModuleList([nn.Linear(FPN * 49, FC), nn.Linear(FC, FC)])
        self.fc_cls = nn.Linear(FC, classes + 1)
        self.fc_reg = nn.Linear(FC, 4)

    def forward(self, features):
        """[n, FPN, 7, 7] -> [n, classes + 1], [n, 4]."""
        x = features.flatten(1)
        for layer in self.shared_fcs:
            x = F.relu(layer(x))
        return self.fc_cls(x), self.fc_reg(x)


class MaskHead(nn.Module):
    """Convolutions, a transposed one, and a mask per class."""

    def __init__(self, classes):
        super().__init__()
        self.convs = nn.ModuleList([ConvModule(FPN, FPN, 3) for _ in range(MASK_CONVS)])
        self.upsample = nn.ConvTranspose2d(FPN, FPN, 2, 2)
        self.conv_logits = nn.Conv2d(FPN, classes, 1)

    def forward(self, x):
        """[n, FPN, 14, 14] -> logits [n, classes, 28, 28]."""
        for layer in self.convs:
            x = F.relu(layer(x))
        return self.conv_logits(F.relu(self.upsample(x)))


class RoiHead(nn.Module):
    """The two heads of regions."""

    def __init__(self, classes):
        super().__init__()
        self.bbox_head = BoxHead(classes)
        self.mask_head = MaskHead(classes)


# --- The detector ---------------------------------------------------------------------------------------------------

def anchors_of(maps):
    """A list of [anchors, 4] per level, centred on the cells' corners."""
    ratios = torch.tensor(RATIOS).sqrt()
    result = []
    for m, stride in zip(maps, STRIDES):
        w, h = stride * SCALE / ratios, stride * SCALE * ratios
        base = torch.stack([-w, -h, w, h], 1) / 2
        y, x = torch.meshgrid(torch.arange(m.shape[2]) * stride, torch.arange(m.shape[3]) * stride, indexing="ij")
        corner = torch.stack([x, y, x, y], -1).view(-1, 1, 4)
        result.append((corner + base).view(-1, 4))
    return result


def decode(boxes, deltas, size):
    """mmdetection's DeltaXYWHBBoxCoder, clipped to size = (height, width)."""
    wh = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + wh * deltas[:, :2]
    half = wh * deltas[:, 2:].clamp(-4.135166556742356, 4.135166556742356).exp() / 2
    most = torch.tensor([size[1], size[0]], dtype=boxes.dtype)
    return torch.cat([torch.minimum((centre - half).clamp(min=0), most), torch.minimum((centre + half).clamp(min=0), most)], 1)


def encode(boxes, targets):
    """The inverse."""
    wh, target_wh = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    shift = ((targets[:, :2] + targets[:, 2:]) - (boxes[:, :2] + boxes[:, 2:])) / 2 / wh
    return torch.cat([shift, (target_wh / wh).log()], 1)


def pool(maps, boxes, bins):
    """RoIAlign of a list of [n, 4] boxes per image, each on its level."""
    rois = torch.cat([torch.cat([torch.full((len(b), 1), float(i)), b], 1) for i, b in enumerate(boxes)])
    sides = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).clamp(min=0).sqrt()
    levels = torch.floor(torch.log2(sides / 56 + 1e-6)).clamp(0, 3)
    features = maps[0].new_zeros(len(rois), FPN, bins, bins)
    for level in range(4):
        chosen = (levels == level).nonzero()[:, 0]
        if len(chosen):
            features = features.index_put((chosen,), roi_align(maps[level], rois[chosen], bins, 1 / STRIDES[level], 0, True))
    return features


class MaskRcnn(nn.Module):
    """The whole network; state_dict() is mmdetection's."""

    def __init__(self, classes):
        super().__init__()
        self.backbone = Swin()
        self.neck = FeaturePyramid()
        self.rpn_head = RpnHead()
        self.roi_head = RoiHead(classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module is not self.backbone.patch_embed.projection:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02 if module.in_features < 1000 else 0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for layer in (self.rpn_head.rpn_cls, self.rpn_head.rpn_reg, self.roi_head.bbox_head.fc_reg):
            nn.init.normal_(layer.weight, std=0.005)
        for layer in self.roi_head.bbox_head.shared_fcs:
            nn.init.xavier_uniform_(layer.weight)
        nn.init.constant_(self.rpn_head.rpn_cls.bias, -3.0)

    def features(self, images):
        """Normalised images [n, 3, h, w] -> P2 to P6."""
        return self.neck(self.backbone(images))

    @torch.no_grad()
    def proposals(self, logits, deltas, anchors, size, config):
        """A list of [proposals, 4] per image, best first; the network's output per level."""
        result = []
        for i in range(len(logits[0])):
            boxes, scores, levels = [], [], []
            for level, (s, d, a) in enumerate(zip(logits, deltas, anchors)):
                best = s[i].topk(min(config["nms_pre"], len(a))).indices if len(a) > config["nms_pre"] else torch.arange(len(a))
                boxes.append(decode(a[best], d[i, best], size))
                scores.append(s[i, best].sigmoid())
                levels.append(torch.full((len(best),), level))
            boxes, scores, levels = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
            fine = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
            boxes, scores, levels = boxes[fine], scores[fine], levels[fine]
            kept = batched_nms(boxes, scores, levels, config["nms"]["iou_threshold"])[:config["max_per_img"]]
            result.append(boxes[kept])
        return result

    @torch.no_grad()
    def detect(self, image, config):
        """One normalised image [1, 3, h, w] -> boxes [n, 4] in its pixels, scores, labels, masks [n, 28, 28]."""
        size = image.shape[2:]
        maps = self.features(image)
        logits, deltas = self.rpn_head(maps)
        rois = self.proposals(logits, deltas, anchors_of(maps), size, config["rpn"])
        scores, reg = self.roi_head.bbox_head(pool(maps, rois, 7))
        scores = scores.softmax(1)[:, :-1]
        boxes = decode(rois[0], reg * BOX_STDS, size)
        roi, label = (scores > config["rcnn"]["score_thr"]).nonzero(as_tuple=True)
        boxes, scores = boxes[roi], scores[roi, label]
        kept = batched_nms(boxes, scores, label, config["rcnn"]["nms"]["iou_threshold"])[:config["rcnn"]["max_per_img"]]
        boxes, scores, label = boxes[kept], scores[kept], label[kept]
        masks = self.roi_head.mask_head(pool(maps, [boxes], 14))[torch.arange(len(kept)), label].sigmoid()
        return boxes, scores, label, masks
