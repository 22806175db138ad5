"""Vectors of other people's definitions: python3 vectors.py > vectors.txt

Needs Pillow and NumPy (13.0 and 2.4 when vectors.txt was made). A line of an image is

    image FILTER W H TO_W TO_H  input bytes in hex  output bytes in hex

`nearest` and `antialias` are Pillow's NEAREST and BILINEAR; `area` is the mean of whole blocks, rounded half up; `half` and `corners` are bilinear between four pixels in float64, as TensorFlow's
resize_bilinear with half_pixel_centers or align_corners and PyTorch's interpolate define it, rounded half up: where the value lies within
1/128 of the edge between two bytes, weights of 1/65536 may give the other one. `grey` is Pillow's convert("L").

A line of audio is

    mel POWER FRAME HOP FFT BANDS LOW HIGH CEPSTRA  samples  features (float)

after tf.signal: frames without padding, the periodic Hann window, rfft, magnitude ** POWER, linear_to_mel_weight_matrix, log, mfccs_from_log_mel.
"""

import numpy as np
from PIL import Image

rng = np.random.default_rng(20260301)


def bilinear(x, to_w, to_h, corners):
    def axis(at, to, of):
        if corners:
            place = at * (of - 1) / (to - 1) if to > 1 else 0.0
        else:
            place = min(max((at + 0.5) * of / to - 0.5, 0), of - 1)
        first = int(np.floor(place))
        return first, min(first + 1, of - 1), place - first

    h, w, _ = x.shape
    x = x.astype(np.float64)
    out = np.zeros((to_h, to_w, 3))
    for j in range(to_h):
        y0, y1, fy = axis(j, to_h, h)
        for i in range(to_w):
            x0, x1, fx = axis(i, to_w, w)
            above = x[y0, x0] * (1 - fx) + x[y0, x1] * fx
            below = x[y1, x0] * (1 - fx) + x[y1, x1] * fx
            out[j, i] = above * (1 - fy) + below * fy
    return np.floor(out + 0.5).astype(np.uint8)


def images():
    sizes = [(7, 5, 7, 5), (16, 16, 8, 8), (31, 17, 13, 11), (40, 9, 3, 2), (5, 6, 14, 13), (1, 1, 3, 2), (64, 48, 20, 20), (33, 50, 1, 1)]
    for w, h, to_w, to_h in sizes:
        x = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        image = Image.fromarray(x)
        results = {
            "nearest": np.asarray(image.resize((to_w, to_h), Image.NEAREST)),
            "antialias": np.asarray(image.resize((to_w, to_h), Image.BILINEAR)),
            "half": bilinear(x, to_w, to_h, False),
            "corners": bilinear(x, to_w, to_h, True),
        }
        if w % to_w == 0 and h % to_h == 0:
            boxes = x.reshape(to_h, h // to_h, to_w, w // to_w, 3).sum((1, 3))
            n = (h // to_h) * (w // to_w)
            results["area"] = ((boxes + n // 2) // n).astype(np.uint8)
        for name, y in results.items():
            print("image", name, w, h, to_w, to_h, x.tobytes().hex(), y.tobytes().hex())
    x = rng.integers(0, 256, (16, 64, 3), dtype=np.uint8)
    print("image grey 64 16 64 16", x.tobytes().hex(), np.asarray(Image.fromarray(x).convert("L")).tobytes().hex())


def mel_weights(bands, lines, rate, low, high):
    mel = lambda f: 1127.0 * np.log(1.0 + f / 700.0)
    lin = mel(np.linspace(0.0, rate / 2, lines)[1:])[:, None]
    edges = np.linspace(mel(low), mel(high), bands + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    slopes = np.minimum((lin - lower) / (centre - lower), (upper - lin) / (upper - centre))
    return np.vstack([np.zeros(bands), np.maximum(0.0, slopes)])


def mel(samples, rate, power, frame, hop, fft, bands, low, high, cepstra, floor):
    x = samples / 32768.0
    n = np.arange(frame)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / frame)
    frames = [x[i : i + frame] * window for i in range(0, len(x) - frame + 1, hop)]
    spectrum = np.abs(np.fft.rfft(frames, fft)) ** power
    log = np.log(np.maximum(spectrum @ mel_weights(bands, fft // 2 + 1, rate, low, high), floor))
    if not cepstra:
        return log
    k, b = np.arange(cepstra)[:, None], np.arange(bands)
    return log @ (np.cos(np.pi * k * (2 * b + 1) / (2 * bands)) * np.sqrt(2.0 / bands)).T


def audio():
    for power, frame, hop, fft, bands, low, high, cepstra in [
        (1, 480, 320, 512, 40, 20, 4000, 0),
        (2, 480, 320, 512, 40, 20, 4000, 10),
        (2, 1024, 512, 1024, 128, 0, 8000, 0),
        (1, 256, 128, 256, 16, 100, 7000, 13),
    ]:
        t = np.arange(1600) / 16000
        x = 9000 * np.sin(2 * np.pi * 440 * t) + 3000 * np.sin(2 * np.pi * (1000 + 4000 * t) * t) + rng.normal(0, 200, len(t))
        x = np.clip(np.round(x), -32768, 32767).astype(np.int16)
        y = mel(x.astype(np.float64), 16000, power, frame, hop, fft, bands, low, high, cepstra, 1e-6)
        print("mel", power, frame, hop, fft, bands, low, high, cepstra, ",".join(map(str, x)), ",".join(f"{v:.6f}" for v in y.ravel()))


images()
audio()
