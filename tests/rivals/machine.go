package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// machine says on what was measured, and with which versions.
func machine() []string {
	return []string{
		fmt.Sprintf("%s, %d processors, %s, %s/%s, kernel %s", processorName(), runtime.NumCPU(), memoryText(), runtime.GOOS, runtime.GOARCH, kernel()),
		fmt.Sprintf("%s, GOMAXPROCS %d, GOGC %s, %s", runtime.Version(), runtime.GOMAXPROCS(0), orDefault(os.Getenv("GOGC"), "100"), linkage()),
		modules("curfew.example", "github.com/asynkron/protoactor-go", "github.com/failsafe-go/failsafe-go", "github.com/kolo/xmlrpc"),
		firstLine("timeout", "--version") + "; " + firstLine("python3", "--version"),
	}
}

// linkage says whether this program was built with cgo, and so is linked dynamically.
func linkage() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "CGO_ENABLED" && s.Value == "0" {
				return "without cgo"
			}
		}
	}
	return "with cgo"
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// field is the value of the first line of a file under /proc that begins with name.
func field(file, name string) string {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func processorName() string { return field("/proc/cpuinfo", "model name") }

func memoryText() string {
	return fmt.Sprintf("%.1f GB of memory", float64(memoryBytes("MemTotal"))/1e9)
}

// memoryBytes is a figure of proc_meminfo(5), 0 where there is none.
func memoryBytes(name string) int64 {
	var kib int64
	_, _ = fmt.Sscanf(field("/proc/meminfo", name), "%d", &kib)
	return kib << 10
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// modules names the versions that this program was built from.
func modules(paths ...string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "no build information"
	}
	var all []string
	for _, m := range info.Deps {
		if slices.Contains(paths, m.Path) {
			version := m.Version
			if m.Replace != nil {
				version = "this tree"
			}
			all = append(all, m.Path+" "+version)
		}
	}
	return strings.Join(all, ", ")
}

// firstLine is what a program says first.
func firstLine(name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return name + " is absent"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
