#!/bin/sh
# A sampler of one's own is Go: this runs the program, then MALA on the same energy by the command line tool.
set -eu
. "$(dirname "$0")/../common.sh"
(cd "$root" && ${GO:-go} run ./docs/examples/own-sampler)
ebm sample builtin:gaussian:dim=4:mean=1,-2,0,3:cov=1,0.01,4,0.25 --sampler mala --chains 8 --steps "$(steps 20000)" --burn-in 10 --step-size 0.012 \
    -o "$OUT/last.npy" --json
