#!/bin/sh
# Makes curfew.pb.go of curfew.proto, in the directory given or else beside it. It needs
# protoc; protoc-gen-go is built in the version that go.mod names.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cd "$here"
go build -o "$tools/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
protoc --plugin="$tools/protoc-gen-go" --go_out="$out" --go_opt=paths=source_relative curfew.proto
