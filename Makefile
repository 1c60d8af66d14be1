# Short names for common commands; everything works without make, too.

.PHONY: test lint generate bench ci

test: ## the README's test command
	go test ./...

lint: ## formatting, vet on four systems, staticcheck
	.ci/run gofmt vet staticcheck

generate: ## write the generated assembly again
	go generate ./...

bench: ## what is too slow for a test: kernels against the machine's peak; every recipe killed at ten random moments and resumed
	go run ./cmd/hone bench
	HONE_KILLS=10 go test -count=1 -timeout 2h -v -run TestKillAnywhere ./cmd/hone

ci: ## everything that has to hold
	.ci/run
