#!/bin/sh
# A loss of one's own is Go: this runs the program. The nearest that the command line has is pcd with a weight on the negatives.
set -eu
. "$(dirname "$0")/../common.sh"
(cd "$root" && ${GO:-go} run ./docs/examples/own-loss)
ebm train --data two-moons:n=10000 --model mlp:128,128:act=selu:out=tanh --loss pcd:k=10:alpha=0.9:init=fitted:energy-penalty=0.3 --clip-norm 1 --step-size 0.02 --temperature 0.2 --clamp=-2.5,3.5 \
    --steps "$(steps 1500)" -o "$OUT/moons.onnx"
