#!/bin/sh
# Denoising score matching on two moons, by the command line tool.
set -eu
. "$(dirname "$0")/../common.sh"
ebm train --data two-moons:n=10000 --model mlp:128,128 --loss dsm:sigma=0.1 --lr "cosine:2e-3,2e-5,$(steps 3000)" --ema 0.99 \
    --steps "$(steps 3000)" --plot "$OUT/loss.png" -o "$OUT/moons.onnx"
ebm sample "$OUT/moons.onnx" --chains 2000 --steps "$(steps 3000)" --step-size exponential:0.01,0.995,5e-4 -o "$OUT/samples.npy"
ebm plot "$OUT/moons.onnx" --samples "$OUT/samples.npy" -o "$OUT/moons.png"
