# Every recipe installs what it needs; `just` alone lists them.
default:
    @just --list

# the whole loop between two throw-away roots on this machine
demo *args:
    scripts/demo {{args}}

# all tests; arguments go to go test
test *args:
    scripts/test {{args}}

# format, vet, staticcheck, shellcheck, cross-builds
lint:
    scripts/lint

# what a change has to pass
ci:
    .ci/run

# bin/usr
build:
    CGO_ENABLED=0 go build -trimpath -o bin/usr ./cmd/usr

# usr against rsync and its other rivals; -h lists what can be measured
bench *args:
    scripts/bench {{args}}

# Go benchmarks, each once
microbench *args:
    go test -run '^$' -bench . -benchtime 1x {{args}} ./...

# every fuzz target for a while
fuzz time="20s":
    scripts/fuzz {{time}}

# only the tests that break things on purpose
faults *args:
    USR_FAULTS=long scripts/test -v -timeout 3h -run Fault ./sync {{args}}

# dist/: static binaries, archives, Debian packages, checksums; the version is what git describes, unless given
release *version:
    scripts/release {{version}}
