#!/usr/bin/env python3
"""Makes tests/fixtures/images: small images of every kind and what Pillow, torchvision and timm make of them.

The content is synthetic (gradients and noise). manifest.json lists the cases, expected.bin holds the expected bytes
one after another. Needs numpy, torch, torchvision, timm and Pillow 13 (older versions resize tall images in another
order of passes); only the maker of the fixtures needs them, the tests do not. Usage: tools/make_image_fixtures.py
"""
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import timm
import torch
import tifffile
from PIL import Image, ImageOps, PngImagePlugin, __version__ as pillow_version
from timm.data.transforms_factory import transforms_imagenet_eval

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "images"
rng = np.random.default_rng(2024)
manifest = {"decode": [], "bad": [], "resize": [], "preprocess": [], "normalize": [], "upright": []}
expected = bytearray()


def store(array):
    offset = len(expected)
    expected.extend(np.ascontiguousarray(array).tobytes())
    return offset


def content(height, width, channels, peak=255):
    """Gradients and a disc with some noise, so that every filter and every rounding has something to do."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / (3 + c) + y / (5 + 2 * c)) * 0.35 + 0.5
              + 0.4 * ((x - width / 2) ** 2 + (y - height / 3) ** 2 < 40 + 30 * c) for c in range(channels)]
    a = np.stack(planes, -1) + rng.normal(0, 0.06, (height, width, channels))
    return np.clip(np.rint(a * peak), 0, peak).astype(np.int64)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, depth, color, interlaced=False, extra=()):
    """An own writer: Pillow writes neither interlaced files nor most depths. samples: [height, width, channels]."""
    height, width, channels = samples.shape
    adam7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for top, left, step_y, step_x in adam7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[top::step_y, left::step_x]
        if part.size == 0:
            continue
        for number, row in enumerate(part):
            flat = row.reshape(-1)
            if depth >= 8:
                line = flat.astype(">u2" if depth == 16 else np.uint8).tobytes()
            else:
                bits = ((flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(-1).astype(np.uint8)
                line = np.packbits(bits).tobytes()
            if number % 2 and depth == 8:  # every other row by the Sub filter
                line = b"\x01" + bytes((a - b) & 255 for a, b in zip(line, bytes(channels) + line))
            else:
                line = b"\x00" + line
            raw += line
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(*e) for e in extra)
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def jpeg(array, mode="RGB", **options):
    array = array.astype(np.uint8)
    height, width = array.shape[:2]
    buffer = io.BytesIO()
    Image.frombytes(mode, (width, height), array.tobytes()).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def decode(name, data):
    (OUT / name).write_bytes(data)
    rgb = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    manifest["decode"].append({"file": name, "width": rgb.shape[1], "height": rgb.shape[0], "offset": store(rgb)})


def bad(name, data, says):
    (OUT / name).write_bytes(data)
    manifest["bad"].append({"file": name, "says": says})


def make_pngs():
    h, w = 17, 23
    for depth in (1, 2, 4, 8):
        decode(f"gray{depth}.png", png(content(h, w, 1, 2 ** depth - 1), depth, 0))
        palette = content(1, 2 ** depth, 3)[0].astype(np.uint8).tobytes()
        decode(f"palette{depth}.png", png(content(h, w, 1, 2 ** depth - 1), depth, 3, extra=[(b"PLTE", palette)]))
    count = np.arange(h * w).reshape(h, w, 1)
    decode("gray16.png", png(count * 3 % 600 + 32768 * (count % 11 == 0), 16, 0))
    decode("gray16_interlaced.png", png(content(h, w, 1, 400), 16, 0, True))
    decode("gray8_transparent.png", png(content(h, w, 1), 8, 0, extra=[(b"tRNS", struct.pack(">H", 130))]))
    decode("gray_alpha8.png", png(content(h, w, 2), 8, 4))
    decode("gray_alpha16.png", png(content(h, w, 2, 65535), 16, 4))
    decode("rgb8.png", png(content(h, w, 3), 8, 2))
    decode("rgb8_interlaced.png", png(content(h, w, 3), 8, 2, True))
    gamma = [(b"gAMA", struct.pack(">I", 100000)), (b"sRGB", b"\0")]
    decode("rgb8_gamma.png", png(content(h, w, 3), 8, 2, extra=gamma))
    decode("rgb8_transparent.png", png(content(h, w, 3), 8, 2, extra=[(b"tRNS", struct.pack(">HHH", 100, 100, 100))]))
    decode("rgb16.png", png(content(h, w, 3, 65535), 16, 2))
    decode("rgba8.png", png(content(h, w, 4), 8, 6))
    decode("rgba16_interlaced.png", png(content(h, w, 4, 65535), 16, 6, True))
    palette = content(1, 16, 3)[0].astype(np.uint8).tobytes()
    decode("palette_transparent.png",
           png(content(h, w, 1, 15), 4, 3, extra=[(b"PLTE", palette), (b"tRNS", bytes(range(0, 160, 10)))]))
    decode("palette_short.png", png(content(h, w, 1), 8, 3, extra=[(b"PLTE", palette)]))  # indices past its end
    decode("palette2_interlaced.png", png(content(h, w, 1, 3), 2, 3, True, extra=[(b"PLTE", palette[:12])]))
    decode("gray1_interlaced_3x2.png", png(content(2, 3, 1, 1), 1, 0, True))
    decode("one_pixel.png", png(content(1, 1, 3), 8, 2))
    decode("png_named.JPEG", png(content(5, 4, 3), 8, 2))


def make_jpegs():
    h, w = 21, 27
    rgb = content(h, w, 3)
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        decode(f"ycc_{name}.jpg", jpeg(rgb, quality=85, subsampling=subsampling))
        decode(f"ycc_{name}_progressive.jpg", jpeg(rgb, quality=70, subsampling=subsampling, progressive=True))
    decode("ycc_420_restart.jpg", jpeg(rgb, quality=75, subsampling=2, restart_marker_blocks=2))
    decode("ycc_420_1x1.jpg", jpeg(rgb[:1, :1], subsampling=2))
    decode("ycc_420_17x1.jpg", jpeg(rgb[:1, :17], subsampling=2))
    decode("ycc_420_1x9.jpg", jpeg(rgb[:9, :1], subsampling=2))
    decode("rgb.jpg", jpeg(rgb, quality=90, keep_rgb=True))
    decode("gray.jpg", jpeg(content(h, w, 1), "L", quality=80))
    decode("gray_progressive.jpg", jpeg(content(h, w, 1), "L", quality=60, progressive=True))
    cmyk = jpeg(content(h, w, 4), "CMYK", quality=90)
    decode("cmyk.jpg", cmyk)
    at = cmyk.index(b"Adobe") + 11
    assert cmyk[at] == 0
    decode("ycck.jpg", cmyk[:at] + b"\x02" + cmyk[at + 1:])  # the Adobe marker's transform says YCCK
    at = cmyk.index(b"\xff\xee")
    decode("cmyk_no_adobe.jpg", cmyk[:at] + cmyk[at + 16:])
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate; not applied
    decode("exif_rotated.jpg", jpeg(rgb, exif=exif))
    plain = jpeg(rgb, quality=85)
    decode("trailing_bytes.jpg", plain + b"not part of the picture")
    at = plain.index(b"\xff\xdb")
    decode("stray_bytes.jpg", plain[:at] + b"\x00\x11" + plain[at:])


def make_bad():
    rgb = content(21, 27, 3)
    plain, progressive = jpeg(rgb, quality=85), jpeg(rgb, quality=85, progressive=True)
    picture = png(content(17, 23, 3), 8, 2)
    bad("truncated_half.jpg", plain[:len(plain) // 2], "truncated")
    bad("truncated_end.jpg", plain[:-3], "truncated")
    bad("truncated_header.jpg", plain[:300], "truncated")
    bad("truncated_progressive.jpg", progressive[:-40], "truncated")
    bad("only_start.jpg", plain[:3], "truncated")
    at = plain.index(b"\xff\xc0")
    bad("huge.jpg", plain[:at + 5] + b"\xff\xdc\xff\xdc" + plain[at + 9:], "limit")
    bad("claims_more.jpg", plain[:at + 5] + b"\x30\x00\x30\x00" + plain[at + 9:], "truncated")
    bad("two_components.jpg",
        plain[:at + 2] + b"\x00\x0e" + plain[at + 4:at + 9] + b"\x02" + plain[at + 10:at + 16] + plain[at + 19:],
        "JPEG")
    bad("no_tables.jpg", plain.replace(b"\xff\xdb", b"\xff\xfe"), "damaged")
    bad("truncated_half.png", picture[:len(picture) // 2], "truncated")
    bad("only_signature.png", picture[:8], "truncated")
    bad("bad_checksum.png", picture[:200] + bytes([picture[200] ^ 255]) + picture[201:], "damaged")

    def empty_png(width, height, depth, color, data):
        header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data))
                + chunk(b"IEND", b""))

    bad("huge.png", empty_png(1 << 30, 1 << 30, 16, 6, b""), "limit")
    bad("claims_more.png", empty_png(10000, 10000, 8, 2, bytes(100)), "truncated")
    bad("empty.png", b"", "empty")
    bad("text.jpg", b"<html>404 not found</html>\n", "not an image that igq reads")
    bad("gif.png", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "GIF")


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def make_damaged_pngs():
    """Pillow stops at the last row: what follows it may be missing or wrong."""
    picture = png(content(17, 23, 3), 8, 2)
    at = picture.index(b"IDAT")
    length = struct.unpack(">I", picture[at - 4:at])[0]
    data = picture[at + 4:at + 4 + length]
    decode("no_end.png", picture[:-12])
    decode("no_checksum.png", picture[:-16])
    decode("half_adler.png", picture[:-18])
    decode("wrong_checksum.png", picture[:at + 4 + length] + b"\0\0\0\0" + picture[-12:])
    parts = [data[i:i + 50] for i in range(0, length, 50)]
    decode("many_parts.png", picture[:at - 4] + b"".join(chunk(b"IDAT", p) for p in [b"", *parts, b""]) + picture[-12:])
    decode("more_data.png", picture[:at - 4] + chunk(b"IDAT", zlib.compress(zlib.decompress(data) + bytes(9)))
           + picture[-12:])
    bad("header_checksum.png", picture[:16] + bytes([picture[16] ^ 1]) + picture[17:], "damaged")


def gif(screen, frame, offset, palette, local=None, transparent=None, interlaced=False):
    """An own writer: codes of nine bits, cleared before they grow."""
    indices = [int(v) for v in rng.integers(0, 256, frame[0] * frame[1])]
    out = b"GIF89a" + struct.pack("<HHBBB", *screen, 0xF7 if palette else 0x70, 0, 0) + (palette or b"")
    if transparent is not None:
        out += b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    out += b"," + struct.pack("<HHHHB", *offset, *frame, (0x87 if local else 0) | (0x40 if interlaced else 0))
    codes = [c for i, v in enumerate(indices) for c in ([256, v] if i % 100 == 0 else [v])] + [257]
    bits = "".join(format(c, "09b")[::-1] for c in codes)
    data = bytes(int(bits[i:i + 8][::-1], 2) for i in range(0, len(bits), 8))
    blocks = b"".join(bytes([len(data[i:i + 255])]) + data[i:i + 255] for i in range(0, len(data), 255))
    return out + (local or b"") + b"\x08" + blocks + b"\0;"


def bmp(width, height, bits, compression=0, header=40, palette=b"", masks=b"", data=None, top_down=False, colors=0):
    stride = (width * bits + 31) // 32 * 4
    if data is None:
        data = rng.integers(0, 256, stride * height, dtype=np.uint8).tobytes()
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression,
                           len(data), 2835, 2835, colors, 0) + (masks + bytes(100))[:header - 40]
    behind = masks if header == 40 else b""
    at = 14 + len(head) + len(behind) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + head + behind + palette + data


def make_webp_and_gif():
    rgb, rgba = (Image.fromarray(content(15, 22, n).astype(np.uint8)) for n in (3, 4))
    decode("lossy.webp", saved(rgb, "WEBP", quality=70))
    decode("lossless.webp", saved(rgb, "WEBP", lossless=True))
    decode("alpha.webp", saved(rgba, "WEBP", quality=80))
    decode("alpha_lossless.webp", saved(rgba, "WEBP", lossless=True, exact=True))
    decode("animated.webp", saved(rgba, "WEBP", lossless=True, save_all=True, append_images=[rgba.rotate(180)]))
    bad("truncated.webp", saved(rgb, "WEBP", quality=70)[:-30], "WebP")
    one, two = (rng.integers(0, 256, 768, dtype=np.uint8).tobytes() for _ in range(2))
    ramp = bytes(v for v in range(256) for _ in range(3))
    decode("plain.gif", gif((9, 8), (9, 8), (0, 0), one))
    decode("interlaced.gif", gif((7, 13), (7, 13), (0, 0), one, interlaced=True))
    decode("local.gif", gif((9, 8), (9, 8), (0, 0), one, local=two))
    decode("only_local.gif", gif((9, 8), (9, 8), (0, 0), None, local=two))
    decode("local_ramp.gif", gif((9, 8), (9, 8), (0, 0), one, local=ramp))
    decode("no_palette.gif", gif((9, 8), (9, 8), (0, 0), None))
    decode("part.gif", gif((12, 10), (7, 5), (3, 2), one))
    decode("part_transparent.gif", gif((12, 10), (7, 5), (3, 2), one, transparent=9))
    decode("beyond.gif", gif((5, 5), (7, 6), (2, 1), one))
    decode("no_end.gif", gif((9, 8), (9, 8), (0, 0), one)[:-2])
    decode("animated.gif", saved(rgb.quantize(19), "GIF", save_all=True, append_images=[rgb.quantize(5)]))
    bad("truncated.gif", gif((9, 8), (9, 8), (0, 0), one)[:-9], "truncated")
    bad("claims_more.gif", b"GIF89a" + struct.pack("<HHBBB", 60000, 2000, 0x70, 0, 0) + b","
        + struct.pack("<HHHHB", 0, 0, 60000, 2000, 0) + b"\x08\x02\x00\x01\0;", "truncated")


def make_bmps():
    palette = rng.integers(0, 256, 1024, dtype=np.uint8).tobytes()
    for bits in (1, 4, 8):
        decode(f"palette{bits}.bmp", bmp(13, 5, bits, palette=palette[:4 << bits]))
        decode(f"palette{bits}_os2.bmp", bmp(13, 5, bits, header=12, palette=palette[:3 << bits]))
    decode("palette_short.bmp", bmp(13, 5, 8, palette=palette[:400], colors=100))
    decode("gray_ramp.bmp", bmp(13, 5, 8, palette=bytes(v for i in range(16) for v in (i, i, i, 0)), colors=16))
    for bits in (16, 24, 32):
        decode(f"rgb{bits}.bmp", bmp(7, 5, bits))
        decode(f"rgb{bits}_top_down.bmp", bmp(7, 5, bits, top_down=True, header=124))
    decode("fields565.bmp", bmp(7, 5, 16, 3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)))
    decode("fields_rgba.bmp", bmp(7, 5, 32, 3, 108, masks=struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)))
    decode("fields_xbgr.bmp", bmp(7, 5, 32, 3, 56, masks=struct.pack("<IIII", 0xFF000000, 0xFF0000, 0xFF00, 0)))
    runs = (b"\x05\x07\x00\x03\x01\x02\x03\x00\x00\x00" b"\x08\x03\x00\x00"
            b"\x00\x02\x02\x00\x03\x09\x00\x00" b"\x08\x01\x00\x01")
    decode("runs8.bmp", bmp(8, 4, 8, 1, palette=palette, data=runs))
    decode("runs4.bmp", bmp(8, 3, 4, 2, palette=palette[:64],
                            data=b"\x05\x7a\x00\x03\x12\x30\x00\x00\x08\x3c\x00\x00\x08\x11\x00\x01"))
    whole = bmp(7, 5, 24)
    bad("truncated.bmp", whole[:-20], "truncated")
    bad("fields_unknown.bmp", bmp(7, 5, 16, 3, masks=struct.pack("<III", 0xF00, 0xF0, 0xF)), "bit fields")
    bad("huge.bmp", whole[:18] + struct.pack("<ii", 60000, 60000) + whole[26:], "limit")
    bad("claims_more.bmp", whole[:18] + struct.pack("<ii", 10000, 10000) + whole[26:], "truncated")


def tiff(name, samples, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    decode(name, buffer.getvalue())


def make_tiffs():
    h, w = 11, 13
    images = {"rgb": Image.fromarray(content(h, w, 3).astype(np.uint8)),
              "rgba": Image.fromarray(content(h, w, 4).astype(np.uint8)),
              "gray": Image.fromarray(content(h, w, 1)[..., 0].astype(np.uint8)),
              "cmyk": Image.frombytes("CMYK", (w, h), content(h, w, 4).astype(np.uint8).tobytes())}
    images["palette"], images["bilevel"] = images["rgb"].quantize(30), images["gray"].convert("1")
    for kind, image in images.items():
        decode(f"{kind}.tif", saved(image, "TIFF"))
        decode(f"{kind}_lzw.tif", saved(image, "TIFF", compression="tiff_lzw"))
    decode("bilevel_g4.tif", saved(images["bilevel"], "TIFF", compression="group4"))
    decode("rgb_jpeg.tif", saved(images["rgb"], "TIFF", compression="jpeg"))
    decode("rgb_packbits.tif", saved(images["rgb"], "TIFF", compression="packbits"))
    decode("pages.tif", saved(images["rgb"], "TIFF", save_all=True, append_images=[images["gray"]]))
    decode("big.tif", saved(images["rgb"], "TIFF", big_tiff=True))
    for order in "<>":
        side = "le" if order == "<" else "be"
        tiff(f"gray16_{side}.tif", content(h, w, 1, 600)[..., 0].astype(np.uint16), byteorder=order)
        tiff(f"rgb16_{side}.tif", content(h, w, 3, 65535).astype(np.uint16), byteorder=order, photometric="rgb")
        tiff(f"float_{side}.tif", (content(h, w, 1, 400)[..., 0] - 50.3).astype(np.float32), byteorder=order)
        tiff(f"signed_{side}.tif", (content(h, w, 1, 400)[..., 0] - 90).astype(np.int16), byteorder=order)
    rgb = content(h, w, 3).astype(np.uint8)
    tiff("tiles.tif", rgb, photometric="rgb", tile=(16, 16), compression="zlib", predictor=True)
    tiff("planes.tif", rgb.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate", rowsperstrip=3)
    tiff("inverted.tif", rgb[..., 0].copy(), photometric="miniswhite")
    rgba = content(h, w, 4).astype(np.uint8)
    tiff("premultiplied.tif", rgba, photometric="rgb", extrasamples=["assocalpha"])
    whole = saved(images["rgb"], "TIFF")
    bad("lab.tif", saved(Image.merge("LAB", images["rgb"].split()), "TIFF"), "photometric interpretation 8")
    bad("truncated.tif", whole[:60], "TIFF")


def upright(name, data):
    (OUT / name).write_bytes(data)
    rgb = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    manifest["upright"].append({"file": name, "width": rgb.shape[1], "height": rgb.shape[0], "offset": store(rgb)})


def make_upright():
    image = Image.fromarray(content(9, 14, 3).astype(np.uint8))

    def record(orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        return exif.tobytes()

    for orientation in range(1, 9):
        upright(f"turned{orientation}.jpg", saved(image, "JPEG", exif=record(orientation)))
    upright("turned9.jpg", saved(image, "JPEG", exif=record(9)))  # no such orientation
    big_endian = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"
    upright("turned_big_endian.jpg", saved(image, "JPEG", exif=big_endian))
    upright("turned.png", saved(image, "PNG", exif=record(6)))
    upright("turned.webp", saved(image, "WEBP", lossless=True, exif=record(7)))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="5"/></x:xmpmeta>'
    upright("turned_xmp.jpg", saved(image, "JPEG", xmp=xmp))
    upright("turned_xmp.webp", saved(image, "WEBP", lossless=True, xmp=xmp))
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    upright("turned_xmp.png", saved(image, "PNG", pnginfo=text))
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(record(8)):8}\n{record(8).hex()}\n", zip=True)
    upright("turned_raw.png", saved(image, "PNG", pnginfo=text))
    turned = saved(image, "TIFF", tiffinfo={0x0112: 6})
    upright("turned.tif", turned)
    decode("turned_always.tif", turned)  # Pillow turns a TIFF when it opens one


def make_resize():
    source = "resize_source.png"
    a = content(41, 59, 3)
    a[:, 40:] = np.where(a[:, 40:] > 127, 255, 0)  # hard edges make the filters with negative lobes clip
    decode(source, png(a, 8, 2))
    image = Image.fromarray(a.astype(np.uint8))
    filters = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
    for name, number in filters.items():
        for w, h in ((23, 17), (59, 13), (7, 41), (61, 8), (20, 43), (1, 1), (58, 5)):
            manifest["resize"].append({"file": source, "width": w, "height": h, "interpolation": name,
                                       "offset": store(np.array(image.resize((w, h), number)))})


def make_preprocess():
    sources = {}
    for name, h, w in (("wide.png", 37, 61), ("tall.png", 83, 31), ("small.png", 9, 14), ("very_tall.png", 120, 11)):
        a = content(h, w, 3)
        decode(name, png(a, 8, 2))
        sources[name] = Image.fromarray(a.astype(np.uint8))
    means = [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
             ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))]
    for mean, std in means:
        ramp = torch.arange(256, dtype=torch.uint8).to(torch.float32).div(255).expand(3, 256)
        values = (ramp - torch.tensor(mean).view(3, 1)).div(torch.tensor(std).view(3, 1))
        manifest["normalize"].append({"mean": mean, "std": std, "offset": store(values.numpy())})
    settings = (((14, 14), 0.875, "bicubic"), ((17, 17), 0.9, "bilinear"), ((11, 18), 0.95, "bicubic"),
                ((16, 9), 1.0, "nearest"), ((12, 12), 0.8, "lanczos"))
    number = 0
    for mode in ("center", "squash", "border"):
        for size, pct, interpolation in settings:
            mean, std = means[number % 3]
            number += 1
            transform = transforms_imagenet_eval(size, crop_pct=pct, crop_mode=mode, interpolation=interpolation,
                                                 mean=mean, std=std, normalize=False)
            for name, image in sources.items():
                out = transform(image).numpy().transpose(1, 2, 0)
                manifest["preprocess"].append(
                    {"file": name, "height": size[0], "width": size[1], "crop_pct": pct, "crop_mode": mode,
                     "interpolation": interpolation, "mean": mean, "std": std, "offset": store(out)})


def transformers_center_crop(a, height, width):
    """transformers' center_crop: the crop's offset rounds down, the padding before the image rounds up."""
    padded_h, padded_w = max(height, a.shape[0]), max(width, a.shape[1])
    canvas = np.zeros((padded_h, padded_w, 3), np.uint8)
    top_pad, left_pad = -(-(padded_h - a.shape[0]) // 2), -(-(padded_w - a.shape[1]) // 2)
    canvas[top_pad:top_pad + a.shape[0], left_pad:left_pad + a.shape[1]] = a
    top, left = (a.shape[0] - height) // 2 + top_pad, (a.shape[1] - width) // 2 + left_pad
    return canvas[top:top + height, left:left + width]


def make_transformers_preprocess():
    for name in ("wide.png", "tall.png", "small.png"):
        image = Image.open(OUT / name)
        for (height, width), (crop_h, crop_w) in (((16, 20), (16, 20)), ((25, 22), (20, 15)), ((13, 12), (16, 17))):
            out = transformers_center_crop(np.array(image.resize((width, height), 3)), crop_h, crop_w)
            manifest["preprocess"].append({"file": name, "height": crop_h, "width": crop_w, "resize_height": height,
                                           "resize_width": width, "interpolation": "bicubic", "offset": store(out)})
        short, long = sorted(image.size)
        for edge, crop in ((19, 16), (18, 15)):
            other = int(edge * long / short)
            size = (edge, other) if image.size[0] <= image.size[1] else (other, edge)
            out = transformers_center_crop(np.array(image.resize(size, 2)), crop, crop)
            manifest["preprocess"].append({"file": name, "height": crop, "width": crop, "resize_short": edge,
                                           "interpolation": "bilinear", "offset": store(out)})


def main():
    assert int(pillow_version.split(".")[0]) >= 13, "Pillow 13 or newer decides the order of the resize passes"
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for make in (make_pngs, make_jpegs, make_bad, make_resize, make_preprocess, make_transformers_preprocess,
                 make_damaged_pngs, make_webp_and_gif, make_bmps, make_tiffs, make_upright):
        make()
    manifest["made_with"] = {"pillow": pillow_version, "timm": timm.__version__,
                             "torch": torch.__version__.split("+")[0]}
    (OUT / "expected.bin").write_bytes(expected)
    parts = []
    for key, value in manifest.items():
        text = json.dumps(value) if isinstance(value, dict) else "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        parts.append(f' "{key}": {text}')
    (OUT / "manifest.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(len(list(OUT.iterdir())), "files,", sum(f.stat().st_size for f in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
