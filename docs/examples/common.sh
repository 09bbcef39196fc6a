# What the scripts of the examples share. OUT is the folder for results; with ONNX_EBM_SHORT set, runs are cut to a few steps.
# ONNX_EBM names the command line tool; without it, the one that `make build` makes.
root=$(cd "$(dirname "$0")/../../.." && pwd)
name=$(basename "$(cd "$(dirname "$0")" && pwd)")
: "${ONNX_EBM:=$root/bin/onnx-ebm}" "${OUT:=$root/out/$name}"
mkdir -p "$OUT"
ebm() { "$ONNX_EBM" "$@"; }
# steps N: N, or 20 in a short run.
steps() { if [ -n "${ONNX_EBM_SHORT:-}" ]; then echo 20; else echo "$1"; fi; }
