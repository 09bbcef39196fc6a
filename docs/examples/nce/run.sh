#!/bin/sh
# Noise-contrastive estimation with log Z, by the command line tool. train reports the log Z it learned; logz estimates that of the
# same energy by annealed importance sampling. (A NET is standardised by train, and its log Z refers to the graph as it is written.)
set -eu
. "$(dirname "$0")/../common.sh"
ebm train --data eight-gaussians:n=20000:std=0.3 --model mlp:64,64 --loss nce:noise=fitted:nu=2 --lr "cosine:3e-3,1e-5,$(steps 4000)" --ema 0.99 \
    --steps "$(steps 4000)" -o "$OUT/gaussians.onnx" --json >"$OUT/train.json"
grep log_z "$OUT/train.json"
ebm logz "$OUT/gaussians.onnx" --method ais --chains 1000 --temperatures "$(steps 1000)" --json
