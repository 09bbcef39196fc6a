#!/bin/sh
# Persistent contrastive divergence on two moons, by the command line tool.
set -eu
. "$(dirname "$0")/../common.sh"
ebm train --data two-moons:n=10000 --model mlp:128,128:act=selu:out=tanh --loss pcd:k=10:buffer=2048:init=fitted:energy-penalty=0.3 --batch 256 --clip-norm 1 \
    --lr "cosine:2e-3,1e-5,$(steps 1500)" --ema 0.99 --step-size 0.02 --temperature 0.2 --clamp=-2.5,3.5 --steps "$(steps 1500)" \
    --log "$OUT/loss.csv" --plot "$OUT/loss.png" -o "$OUT/moons.onnx"
ebm sample "$OUT/moons.onnx" --chains 2000 --steps "$(steps 1000)" --step-size 0.02 --temperature 0.2 --clamp=-2.5,3.5 -o "$OUT/samples.npy"
ebm plot "$OUT/moons.onnx" --samples "$OUT/samples.npy" -o "$OUT/moons.png"
