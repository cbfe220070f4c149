# Copyright The metalpack Authors
# SPDX-License-Identifier: Apache-2.0

GO ?= go
TOOL = $(GO) tool -modfile=tools.mod
export GOFLAGS =

.PHONY: build demo test lint fmt

build: ## both programs, in ./bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

demo: build ## the main job on loopback, in ./demo; KEEP=1 leaves the server running
	@internal/demo/demo.sh

test: ## unit, script and end-to-end tests under the race detector
	$(GO) test -race -shuffle=on -count=1 ./...

lint: ## zero findings
	$(TOOL) golangci-lint run ./...

fmt:
	$(TOOL) golangci-lint fmt ./...
