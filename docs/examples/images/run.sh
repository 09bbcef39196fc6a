#!/bin/sh
# The energies of the Go program by the command line tool, without the judge: denoising score matching and PCD on strokes, then a grid
# of samples each. The standardisation of a NET is inside its graph: chains move in the units of pixels, 0…1.
set -eu
. "$(dirname "$0")/../common.sh"
images() { if [ -n "${ONNX_EBM_SHORT:-}" ]; then echo 200; else echo 5000; fi; }
chains() { if [ -n "${ONNX_EBM_SHORT:-}" ]; then echo 9; else echo 196; fi; }
ebm train --data "strokes:n=$(images)" --model convnet:16,32,64,128:classes=10 --loss dsm:sigma=0.3 --batch 64 --ema 0.995 \
    --lr "cosine:3e-3,6e-5,$(steps 4000)" --steps "$(steps 4000)" -o "$OUT/dsm.onnx"
ebm sample "$OUT/dsm.onnx" --chains "$(chains)" --steps "$(steps 800)" --step-size 0.0135 --temperature exponential:1,0.9925,0.5 \
    -o "$OUT/dsm.npy" --plot "$OUT/dsm.png"
ebm train --data "strokes:n=$(images):noise=0.25" --model convnet:16,32,64:dense=128:classes=10 --loss pcd:k=10:buffer=1000:init=uniform:low=0:high=1 \
    --batch 64 --ema 0.995 --step-size 0.01 --lr "cosine:1.5e-3,3e-5,$(steps 3000)" --steps "$(steps 3000)" -o "$OUT/pcd.onnx"
ebm sample "$OUT/pcd.onnx" --chains "$(chains)" --steps "$(steps 400)" --step-size 0.0094 -o "$OUT/warm.npy"
ebm sample "$OUT/pcd.onnx" --init "$OUT/warm.npy" --chains "$(chains)" --steps "$(steps 200)" --step-size 0.0094 --temperature exponential:1,0.97,0.1 \
    -o "$OUT/pcd.npy" --plot "$OUT/pcd.png"
