#!/bin/sh
# A classifier's ONNX file becomes the energy −log Σ exp f of its inputs, and is fine-tuned as one; the Go program makes the file.
# log p(x) by persistent chains and log p(y | x) by cross-entropy: together log p(x, y).
set -eu
. "$(dirname "$0")/../common.sh"
(cd "$root" && ${GO:-go} run ./docs/examples/jem -out "$OUT")
ebm import "$OUT/classifier.onnx" --as neglogsumexp -o "$OUT/energy.onnx"
ebm train --data eight-gaussians:n=8000:std=0.2 --model "$OUT/energy.onnx" --loss pcd:k=20:buffer=4000:init=uniform:low=-3:high=3 --cross-entropy 1 --batch 128 \
    --clip-norm 10 --step-size 0.01 --lr "cosine:1e-3,1e-5,$(steps 2000)" --ema 0.99 --steps "$(steps 2000)" -o "$OUT/jem.onnx"
ebm plot "$OUT/jem.onnx" --data eight-gaussians:std=0.2 -o "$OUT/jem.png"
ebm import "$OUT/jem.onnx" --output logits --as neglogit:3 -o "$OUT/class3.onnx"
ebm sample "$OUT/class3.onnx" --chains 200 --steps "$(steps 1000)" --step-size 0.01 -o "$OUT/class3.npy"
ebm plot "$OUT/class3.onnx" --samples "$OUT/class3.npy" -o "$OUT/class3.png"
