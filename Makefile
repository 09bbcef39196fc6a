GO ?= go
BIN := bin/onnx-ebm
# ONNX Runtime lies beside the binary, where the binary finds it from any directory.
ORT_DIR := $(CURDIR)/bin/onnxruntime
ORT_READY := $(ORT_DIR)/.ready
# Tests use that library unless the environment names another.
ONNXRUNTIME_SHARED_LIBRARY_PATH ?= $(ORT_DIR)
export ONNXRUNTIME_SHARED_LIBRARY_PATH

.PHONY: build runtime test race slow demo bench lint clean

build: $(BIN) runtime ## the command line tool and ONNX Runtime beside it

.PHONY: $(BIN)
$(BIN):
	$(GO) build -o $(BIN) ./tools/onnx-ebm

runtime: $(ORT_READY) ## ONNX Runtime (pip or npm client, SHA-256 checked)

$(ORT_READY): | $(BIN)
	@mkdir -p $(ORT_DIR)
	$(BIN) runtime install --dir $(ORT_DIR)
	@touch $@

test: runtime ## everything that CI checks
	$(GO) vet ./...
	$(GO) test -count=1 -timeout 30m ./...

race: runtime
	$(GO) test -count=1 -race ./runtime ./ebm/... ./samplers/...

slow: runtime ## long statistical and exhaustive checks
	$(GO) test -count=1 -timeout 80m -tags slow ./...

demo: build ## train on two moons, sample, plot: out/
	@mkdir -p out
	$(GO) run ./tools/demo

bench: build
	$(BIN) bench

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...

clean:
	rm -rf bin out
