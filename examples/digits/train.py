"""Trains the two digit classifiers of the quick start and writes everything that belongs to them.

    digits (8x8, 17 grey levels)
      -> split: 1347 for training, 450 held out (stratified, seeded)
      -> a float network -> int8 post-training quantization (100 training images)
      -> digits_v1.tflite   smaller and trained for a short time: the version that is in the field
         digits_v2.tflite   the better candidate
      -> digits_test.npz    the held-out images as the models' int8 input, with their labels
         digits_v?.golden.npz   16 of them with the output that LiteRT (XNNPACK) computes

The networks use only CONV_2D, DEPTHWISE_CONV_2D, ADD, MEAN, FULLY_CONNECTED, RESHAPE and SOFTMAX, have int8 input and
output and per-channel weights. The run is seeded and single-threaded; on the same CPU family it repeats to the byte.
Run it as described in README.md.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import contextlib
import io
import pathlib
import sys

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = pathlib.Path(__file__).resolve().parent
SEED = 2026
HELD_OUT = 450
GOLDENS = 16
CALIBRATION = 100
ALLOWED_OPS = {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "AVERAGE_POOL_2D", "MEAN", "FULLY_CONNECTED", "RESHAPE", "SOFTMAX"}
LIMIT_BYTES = 100_000
# name, network, epochs, accuracy of the int8 model that the held-out part must show [from, to]
VERSIONS = [("digits_v1", "small", 10, (0.90, 0.935)), ("digits_v2", "residual", 60, (0.97, 1.0))]


def main():
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()

    train_x, test_x, train_y, test_y = data()
    test_input = quantize_input(test_x)
    np.savez_compressed(HERE / "digits_test.npz", x=test_input, y=test_y.astype(np.uint8))

    failed = False
    for name, network, epochs, (low, high) in VERSIONS:
        tf.keras.utils.set_random_seed(SEED)
        model = train(NETWORKS[network](), train_x, train_y, epochs)
        float_accuracy = np.mean(np.argmax(model.predict(test_x, verbose=0), axis=-1) == test_y)

        content = to_tflite(model, train_x[:CALIBRATION])
        (HERE / f"{name}.tflite").write_bytes(content)
        ops, input_scale, input_zero_point = describe(content)
        output = run(content, test_input)
        accuracy = np.mean(np.argmax(output, axis=-1) == test_y)
        np.savez_compressed(HERE / f"{name}.golden.npz", input=test_input[:GOLDENS], output=output[:GOLDENS])

        print(f"{name}: float {float_accuracy:.4f}, int8 {accuracy:.4f} on {len(test_y)} held-out images, {len(content)} bytes")
        print(f"  ops: {', '.join(ops)}; input scale {input_scale:.8f}, zero point {input_zero_point}")
        wrong = [
            (not set(ops) <= ALLOWED_OPS, f"an operator outside {sorted(ALLOWED_OPS)}"),
            (len(content) > LIMIT_BYTES, f"more than {LIMIT_BYTES} bytes"),
            (not low <= accuracy <= high, f"accuracy outside [{low}, {high}]"),
            (not np.isclose(input_scale, 1 / 255) or input_zero_point != -128, "an input scale other than 1/255"),
        ]
        for is_wrong, what in wrong:
            if is_wrong:
                print(f"  NOT ACCEPTED: {what}")
                failed = True
    return 1 if failed else 0


def data():
    """The images as float32 [n, 8, 8, 1] in 0..1 and the labels, split into training and held-out parts."""
    digits = load_digits()
    x = (digits.images / 16.0).astype(np.float32)[..., np.newaxis]
    return train_test_split(x, digits.target, test_size=HELD_OUT, random_state=SEED, stratify=digits.target)


def quantize_input(x):
    """0..1 as int8 with scale 1/255 and zero point -128: what the converter finds for this range."""
    return np.clip(np.round(x * 255.0) - 128, -128, 127).astype(np.int8)


def small():
    """Under three thousand weights: one strided convolution, one separable layer, all of it into the classifier."""
    k = tf.keras.layers
    image = k.Input((8, 8, 1))
    x = block(k.Conv2D(8, 3, strides=2, padding="same", use_bias=False))(image)
    x = block(k.DepthwiseConv2D(3, padding="same", use_bias=False))(x)
    x = block(k.Conv2D(16, 1, use_bias=False))(x)
    return head(image, k.Flatten()(x))


def residual():
    """Two residual pairs of separable layers, 24 then 48 channels wide."""
    k = tf.keras.layers
    image = k.Input((8, 8, 1))
    x = block(k.Conv2D(24, 3, padding="same", use_bias=False))(image)
    x = separable_residual(x, 24)
    x = block(k.Conv2D(48, 3, strides=2, padding="same", use_bias=False))(x)
    x = separable_residual(x, 48)
    return head(image, k.GlobalAveragePooling2D()(x))


NETWORKS = {"small": small, "residual": residual}


def separable_residual(x, channels):
    k = tf.keras.layers
    y = block(k.DepthwiseConv2D(3, padding="same", use_bias=False))(x)
    y = k.BatchNormalization(momentum=0.9)(k.Conv2D(channels, 1, use_bias=False)(y))
    return k.ReLU()(k.Add()([x, y]))


def block(layer):
    """A layer, its batch norm (folded by the converter) and a ReLU (fused by the converter)."""
    k = tf.keras.layers
    norm, relu = k.BatchNormalization(momentum=0.9), k.ReLU()
    return lambda x: relu(norm(layer(x)))


def head(image, x):
    """Ten logits and their softmax."""
    k = tf.keras.layers
    return tf.keras.Model(image, k.Softmax()(k.Dense(10)(x)))


def train(model, x, y, epochs):
    """Adam with cosine decay; every epoch sees the images shifted by up to one pixel."""
    batch = 32
    steps = epochs * -(-len(x) // batch)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(4e-3, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    rng = np.random.default_rng(SEED)
    for _ in range(epochs):
        model.fit(shifted(x, rng), y, batch_size=batch, epochs=1, verbose=0)
    return model


def shifted(x, rng):
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    moves = rng.integers(0, 3, size=(len(x), 2))
    return np.stack([image[dy : dy + 8, dx : dx + 8] for image, (dy, dx) in zip(padded, moves)])


def to_tflite(model, calibration):
    """Full int8, batch 1 (a free batch dimension would add operators that compute shapes)."""
    single = tf.keras.models.clone_model(model, input_tensors=tf.keras.Input(batch_shape=(1, 8, 8, 1), name="image"))
    single.set_weights(model.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    with contextlib.redirect_stdout(io.StringIO()):  # the converter prints an inventory of variables
        return converter.convert()


def describe(content):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    ops = [op["op_name"] for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
    scale, zero_point = interpreter.get_input_details()[0]["quantization"]
    return ops, scale, zero_point


def run(content, inputs):
    """Outputs of LiteRT with its default delegate, XNNPACK, on one thread."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    door = interpreter.get_input_details()[0]["index"]
    exit_ = interpreter.get_output_details()[0]["index"]
    outputs = []
    for image in inputs:
        interpreter.set_tensor(door, image[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(exit_)[0])
    return np.stack(outputs)


if __name__ == "__main__":
    sys.exit(main())
