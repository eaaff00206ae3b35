# Everything needs Go, make and git only. Variables given on the command line
# reach the programs: make run WHATSAPP=sim PORT=18080

GO      ?= go
PKG     ?= ./...
DATA    ?= .data
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

GOBUILD = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# The tests' Postgres: found on the machine, or fetched once.
WITH_POSTGRES = bin/pgtest --

.DEFAULT_GOAL := help
.PHONY: help run scan test test-pooler e2e e2e-aws chaos bench bench-fleet bench-lambda bench-api lint lint-security lint-infra lint-infra-spec lint-infra-faults build invoke clean programs bin/api bin/migrate bin/sweep bin/wafleet bin/wasim bin/pgtest bin/bootstrap bin/lambdarun

help: ## Show this list
	@echo "make ..."
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: programs ## Run the whole system in the foreground (WHATSAPP=real|sim PORT= API_KEY= CONNECTORS= DATABASE_URL= LOG=1)
	@exec bin/wafleet-local run --attached --data $(DATA)

scan: programs ## Let the simulated phone scan a session's QR code (SESSION=my-session [NUMBER=5511999990001])
	$(if $(SESSION),,$(error give the session: make scan SESSION=my-session))
	@exec bin/wafleet-local scan --data $(DATA) '$(SESSION)' $(NUMBER)

test: bin/pgtest ## Run all tests on a real Postgres, with the race detector (PKG=./shared/...)
	@if command -v "$$($(GO) env CC)" >/dev/null 2>&1; then race=-race; else race=; echo "no C compiler found: the tests run without the race detector"; fi; \
	exec $(WITH_POSTGRES) env CGO_ENABLED=$${race:+1} $(GO) test $$race -shuffle=on -timeout=15m $(PKG)

# What the API's side of the fleet does; connectors, in these tests too, have a
# direct connection.
POOLED = ./functions/... ./shared/store ./shared/secret ./shared/e2e/conformance

test-pooler: bin/pgtest ## Run the API's tests through pgbouncer in transaction mode
	@if ! PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null; then \
		echo "NOTHING IS TESTED: pgbouncer is not installed (apt-get install pgbouncer)"; test "$$CI" != true; exit; fi; \
	$(WITH_POSTGRES) env WAFLEET_TEST_POOLER=1 $(GO) test -shuffle=on -timeout=15m $(POOLED) && \
	exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench '^BenchmarkPooler$$' -benchtime 1x ./shared/store

e2e: bin/pgtest ## Run the end-to-end tests only
	@exec $(WITH_POSTGRES) $(GO) test -shuffle=on -timeout=15m ./shared/e2e/... ./infra/local/...

chaos: ## Break everything at random and check that nothing is lost (CHAOS=60s CHAOS_SEED=7 CHAOS_ONLY=kill,freeze)
	@exec env CHAOS=$(or $(CHAOS),60s) CHAOS_SEED=$(CHAOS_SEED) $(GO) test -v -count=1 -timeout=4h ./shared/e2e/chaos

bench: bin/pgtest ## Print first figures: start to QR, claims, memory per session
	@exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench . -skip '^Benchmark(Fleet|API|Lambda)$$' -benchtime 1x -timeout=15m ./shared/e2e/...

bench-fleet: bin/pgtest ## Measure a fleet in minutes: crashes, drains, a deployment, storms of starts (FLEET=moves|storm|full)
	@exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench '^BenchmarkFleet$$/^$(or $(FLEET),.*)$$' -benchtime 1x -timeout=30m ./shared/e2e

bench-lambda: bin/pgtest ## Measure the built Lambda programs: cold start, warm events, memory, size
	@exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench '^BenchmarkLambda$$' -benchtime 1x -timeout=10m ./shared/e2e/coldstart

bench-api: ## Measure the API over loopback: requests per second, p50, p99, round trips to a durable Postgres
	@exec $(GO) test -run '^$$' -bench '^BenchmarkAPI$$' -benchtime 1x -timeout=10m ./shared/e2e/conformance

lint: lint-security ## Check form, vet, staticcheck, gosec, known vulnerabilities, go.mod, the import rules and the OpenAPI document
	@unformatted=$$(gofmt -l connector functions infra shared); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) test ./shared/house ./shared/e2e/contract

TEMPLATES = template.yaml infra/aws/*.yaml
CFN_LINT  = cfn-lint==1.51.0

# What stands in for cfn-lint where Python is missing; see infra/aws/lint.
AWS_SPEC = @aws-cdk/aws-service-spec@0.1.216 yaml@2.9.1

lint-infra: ## Check the templates: cfn-lint where it is there or pip can fetch it, AWS's specification else, and the tests of infra/aws
	@if command -v cfn-lint >/dev/null 2>&1; then cfn-lint $(TEMPLATES) && echo "cfn-lint: no complaint"; \
	elif { test -x .cache/cfn-lint/bin/cfn-lint || { python3 -m venv .cache/cfn-lint && .cache/cfn-lint/bin/pip install --quiet --disable-pip-version-check --retries 0 --timeout 5 $(CFN_LINT); }; } >/dev/null 2>&1; then \
		.cache/cfn-lint/bin/cfn-lint $(TEMPLATES) && echo "cfn-lint: no complaint"; \
	elif rm -rf .cache/cfn-lint; command -v npm >/dev/null 2>&1; then \
		echo "cfn-lint cannot be had: AWS's specification of resources stands in"; $(MAKE) --no-print-directory lint-infra-spec; \
	else echo "neither cfn-lint nor npm can be had: only the tests of infra/aws check the templates"; fi
	$(GO) test ./infra/aws

lint-infra-spec: .cache/aws-spec
	@node infra/aws/lint/lint.mjs .cache/aws-spec $(TEMPLATES)

lint-infra-faults: .cache/aws-spec
	LINT_FAULTS=../../.cache/aws-spec $(GO) test -count=1 -v -run 'Linters|EveryFault' ./infra/aws

.cache/aws-spec:
	@command -v npm >/dev/null 2>&1 || { echo "npm is missing. Install Node.js: https://nodejs.org" >&2; exit 1; }
	@npm install --silent --no-audit --no-fund --ignore-scripts --no-save --prefix $@.new $(AWS_SPEC) && mv $@.new $@

# Tools with dependencies of their own, which must not meet the product's.
TOOLS = $(GO) tool -modfile=infra/tools/go.mod

# G104 is left out: an error of a Close on the way out has no reader. What else
# is not a finding says so at its place, with "#nosec" and why.
lint-security:
	@$(TOOLS) gosec -quiet -exclude=G104 ./...
	@found=$$($(TOOLS) govulncheck ./... 2>&1) || case "$$found" in \
	*"fetching vulnerabilities"*) echo "govulncheck is skipped: the database of known vulnerabilities cannot be reached" ;; \
	*) echo "$$found"; exit 1 ;; esac

build: programs bin/api bin/migrate bin/sweep bin/wafleet bin/wasim ## Build every program into bin/

# The function that an event file belongs to: functions/NAME/events/x.json.
FUNCTION = $(if $(filter functions/%,$(EVENT)),$(word 2,$(subst /, ,$(EVENT))),api)

invoke: bin/lambdarun bin/bootstrap programs ## Run the function of an event by hand, as a Lambda (EVENT=functions/api/events/get.json)
	$(if $(EVENT),,$(error give an event: make invoke EVENT=functions/api/events/get.json))
	@API_KEY="$${API_KEY:-wafleet-example-key}" exec bin/wafleet-local with-database --data $(DATA) bin/lambdarun -bootstrap bin/bootstrap $(EVENT)

clean: ## Remove what was built; the data of make run stays in .data
	rm -rf bin bootstrap

# Always built: the go command knows best what is up to date.
programs:
	@test -x bin/connector || echo "building (the first time takes up to a minute) ..."
	@$(GOBUILD) -o bin/ ./connector ./connector/guard ./infra/local && mv -f bin/local bin/wafleet-local
bin/api:
	@$(GOBUILD) -o $@ ./functions/api
bin/migrate:
	@$(GOBUILD) -o $@ ./functions/migrate
bin/sweep:
	@$(GOBUILD) -o $@ ./functions/sweep
bin/wafleet:
	@$(GOBUILD) -o $@ ./functions/admin
bin/wasim:
	@$(GOBUILD) -o $@ ./shared/wasim/cmd/wasim
bin/bootstrap:
	@$(GOBUILD) -tags lambda.norpc -o $@ ./functions/$(FUNCTION)
bin/pgtest:
	@$(GOBUILD) -o $@ ./shared/pgtest/cmd/pgtest
bin/lambdarun:
	@$(GOBUILD) -o $@ ./shared/e2e/lambdarun/cmd/lambdarun
