# Targets are explained in CONTRIBUTING.md. Everything works as root on a Debian 12
# without systemd; what a test needs and does not find, it is skipped for, by name.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := all

# Go is often installed where only a login shell looks, and beside an older one. A
# distribution's Go may be told to stay at its own version: go.mod names ours, and Go
# fetches it. An installed Go that is new enough fetches nothing.
GODIR := $(shell ./setup.sh go)
export PATH := $(if $(GODIR),$(GODIR):)$(PATH)
export GOTOOLCHAIN ?= auto
GO ?= go

# libvirt_dlopen loads libvirt.so.0 when the driver runs, so that no libvirt is needed
# to build it; without the tag the driver's packages are empty. tenks_embed puts the
# driver into tenks.
TAGS := libvirt_dlopen
TEST_TAGS := $(TAGS),tenks_embed

BIN := bin
TOOLS := .bin
GOLANGCI_LINT := v2.15.0
PROTOC_GEN_GO := v1.36.12
PROTOC_GEN_GO_GRPC := v1.6.2
BENCHSTAT := v0.0.0-20260908200009-22c9c6c9d4da

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w
PREFIX ?= /usr/local

# Packages built or tested at a time, and how long a package's tests may take.
P ?= 2
UNIT_TIMEOUT ?= 12m
INTEGRATION_TIMEOUT ?= 30m
FUZZTIME ?= 30s
COUNT ?= 10
# What make race is about.
RACE ?= ./...
BENCH ?= .
BENCH_OUT ?= .bench/new.txt
# What integration tests print, also when they pass, if their name matches.
SHOW ?= ^TestIntegration
# A file that says which tests may be skipped; others then fail. None: all may be.
SKIPS ?=

# make lab: how many hosts, and zones that they are in; their physnets; MiB of each
# one's own disk.
N ?= 3
ZONES ?= 0
NETWORKS ?=
DISK ?= 0

DRIVER := $(BIN)/tenks-libvirt
PACKED := cmd/internal/drivers/bin/tenks-libvirt.gz
# Folders with tests that need root or libvirt.
INTEGRATION = $(shell grep -rl --include='*_test.go' '^func TestIntegration' . | xargs -r -n1 dirname | sort -u)
PROTOS = $(shell find . -name '*.proto')

.PHONY: all driver check lint tidy generated policy test unit integration race bench bench-scale fuzz generate tools needs lab clean install

# go build decides what is out of date, and does nothing if nothing is.
all: driver
	CGO_ENABLED=0 $(GO) build -p $(P) -trimpath -tags tenks_embed -ldflags '$(LDFLAGS) -X main.version=$(VERSION)' -o $(BIN)/tenks ./cmd/tenks

driver:
	CGO_ENABLED=1 $(GO) build -p $(P) -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(DRIVER) ./cmd/tenks-libvirt
	@mkdir -p $(dir $(PACKED))
	@gzip -nc $(DRIVER) > $(PACKED).tmp
	@if cmp -s $(PACKED).tmp $(PACKED); then rm $(PACKED).tmp; else mv $(PACKED).tmp $(PACKED); fi

check: lint tidy generated policy

lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT)
	$< run ./...

tidy:
	$(GO) mod tidy -diff

# make generate wrote the hashes of each .proto and of what was made of it beside it:
# that they still fit together needs no protoc and no network.
generated:
	@for p in $(PROTOS); do \
	  (cd "$$(dirname "$$p")" && sha256sum --check --strict --quiet "$$(basename "$$p").sha256") || { echo "$$p or its Go files changed: run make generate" >&2; exit 1; }; \
	done

policy:
	$(GO) test ./cmd

# Unit tests, then those that need root, in one report.
test: needs all $(TOOLS)/testsum
	@{ rc=0; $(RUN_UNIT) || rc=1; $(RUN_INTEGRATION) || rc=1; exit $$rc; } | $(TOOLS)/testsum -show '$(SHOW)' -skips '$(SKIPS)'

unit: all $(TOOLS)/testsum
	@$(RUN_UNIT) | $(TOOLS)/testsum

integration: needs all $(TOOLS)/testsum
	@$(RUN_INTEGRATION) | $(TOOLS)/testsum -show '$(SHOW)' -skips '$(SKIPS)'

# Tests that call Parallel mostly wait: those of the longest package use a tenth of a CPU.
RUN_UNIT = $(GO) test -json -p $(P) -parallel 4 -tags $(TEST_TAGS) -timeout $(UNIT_TIMEOUT) -skip '^TestIntegration' ./...
# Two packages at a time: the longest, e2e, mostly waits, and each has hosts or a libvirtd
# of its own.
RUN_INTEGRATION = { pkgs='$(INTEGRATION)'; \
	[ -z "$$pkgs" ] || PATH="$(CURDIR)/$(BIN):$$PATH" \
	$(GO) test -json -p 2 -parallel 3 -count=1 -tags $(TEST_TAGS) -timeout $(INTEGRATION_TIMEOUT) -run '^TestIntegration' $$pkgs; }

race:
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -p $(P) -tags $(TAGS) -timeout $(UNIT_TIMEOUT) -skip '^TestIntegration' $(RACE)

# TENKS_BENCH_REST: seconds that 10,000 BMCs are watched at rest; see docs/bmc.md.
# The last result is kept beside the new one: .bin/benchstat .bench/old.txt .bench/new.txt
bench: all
	@mkdir -p $(dir $(BENCH_OUT))
	@if [ -f $(BENCH_OUT) ]; then mv $(BENCH_OUT) $(dir $(BENCH_OUT))old.txt; fi
	PATH="$(CURDIR)/$(BIN):$$PATH" $(GO) test -p 1 -tags $(TEST_TAGS) -timeout 60m -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./... | tee $(BENCH_OUT)
	@if [ -x $(TOOLS)/benchstat-$(BENCHSTAT) ]; then $(TOOLS)/benchstat-$(BENCHSTAT) $$(ls $(dir $(BENCH_OUT))old.txt 2>/dev/null) $(BENCH_OUT); fi

# A mesh of this size on this host, for some minutes; see docs/scale.md. For example:
# TENKS_SCALE_PEERS=300 TENKS_SCALE_PROFILE=/tmp make bench-scale
bench-scale: export TENKS_SCALE_AGENTS ?= 5
bench-scale: export TENKS_SCALE_PEERS ?= 1000
bench-scale: export TENKS_SCALE_NODES ?= 10000
bench-scale: export TENKS_SCALE_REST ?= 30
bench-scale: export TENKS_SCALE_AWAY ?= 5000
bench-scale: export TENKS_SCALE_KILLS ?= 3
bench-scale:
	$(GO) test -tags $(TAGS) -timeout 30m -run '^$$' -bench '^BenchmarkMesh$$' -benchtime 1x -v ./cmd/internal/scale

fuzz:
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | \
	while IFS=: read -r file decl; do \
	  echo "== $${decl#func } in $$(dirname $$file)"; \
	  $(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$${decl#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x -parallel $(P) "$$(dirname $$file)" </dev/null; \
	done

generate: $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc
	@command -v protoc >/dev/null || { echo 'protoc is missing: apt-get install protobuf-compiler' >&2; exit 1; }
	PATH="$(CURDIR)/$(TOOLS):$$PATH" $(GO) generate -tags $(TAGS) ./...
	@for p in $(PROTOS); do (cd "$$(dirname "$$p")" && sha256sum "$$(basename "$$p")" *.pb.go > "$$(basename "$$p").sha256"); done
	git diff --exit-code

$(TOOLS)/protoc-gen-go:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO)

$(TOOLS)/protoc-gen-go-grpc:
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC)

# What the tests need. Without it they are skipped instead, by name.
needs:
	@if [ "$$(id -u)" != 0 ]; then echo 'not root: tests that need root will be skipped'; \
	elif ! ./setup.sh tests; then echo 'not everything could be installed: tests that need it will be skipped'; fi

tools: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT) $(TOOLS)/benchstat-$(BENCHSTAT)

# The version is in the name, so that a new one is fetched.
$(TOOLS)/golangci-lint-$(GOLANGCI_LINT):
	GOBIN=$(CURDIR)/$(TOOLS) GOFLAGS=-buildvcs=false $(GO) install -p $(P) github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	@mv $(TOOLS)/golangci-lint $@ && ln -sf $(notdir $@) $(TOOLS)/golangci-lint

$(TOOLS)/benchstat-$(BENCHSTAT):
	GOBIN=$(CURDIR)/$(TOOLS) GOFLAGS=-buildvcs=false $(GO) install golang.org/x/perf/cmd/benchstat@$(BENCHSTAT)
	@mv $(TOOLS)/benchstat $@ && ln -sf $(notdir $@) $(TOOLS)/benchstat

.PHONY: $(TOOLS)/testsum
$(TOOLS)/testsum:
	@CGO_ENABLED=0 $(GO) build -o $@ ./cmd/internal/testsum

# Hosts to try things on, until Ctrl-C (docs/lab.md):
# make lab N=3 ZONES=3 NETWORKS=physnet1,storage DISK=512
lab: all
	@$(GO) build -o $(TOOLS)/lab ./cmd/internal/labmain
	@exec $(TOOLS)/lab -bin $(BIN) -n $(N) -zones $(ZONES) -networks '$(NETWORKS)' -disk $(DISK)

clean:
	rm -rf $(BIN) .bench $(dir $(PACKED))

install: all
	install -D -m 0755 $(BIN)/tenks $(DESTDIR)$(PREFIX)/bin/tenks
	install -D -m 0644 systemd/tenks.service $(DESTDIR)/etc/systemd/system/tenks.service
	install -D -m 0644 systemd/tenks.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/tenks.conf
