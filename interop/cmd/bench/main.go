// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures metalpack build against what one would type without
// it, on the 160 wheels of the vllm-metal environment:
//
//	uv pip install --target T … && tar -cf - T | gzip -6 > T.tar.gz
//
// Start it with make bench-build at the root of the repository. Both sides read
// the same wheel files; uv starts with an empty cache of its own, we with an
// empty layer cache, and every run writes to a new directory. The runs take
// turns, so that a busy machine slows both, and the table has the medians of
// wall time, of user and system time, of their ratios to the peer's run of the
// same round, and of the largest process. Two more cases begin where a build
// has ended: nothing has changed, and one file of one small package has.
//
// It needs uv on PATH and the wheels in the user's cache, and says how to get
// what is missing. docs/bench.md has results.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

// run measures and prints the table.
func run(ctx context.Context) (err error) {
	rounds := flag.Int("n", 3, "rounds")
	quick := flag.Bool("quick", false, "one round, zstd at fast alone")
	root := flag.String("root", "..", "the repository")
	flag.Parse()
	levels := []string{"fast", "release", "fast+gzip"}
	if *quick {
		*rounds, levels = 1, levels[:1]
	}
	s, err := newStage(ctx, *root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	results := map[string][]sample{}
	defer func() {
		if len(results[caseChanged]) > 0 && len(results[casePeer]) > 0 { // also of rounds that an interrupt cut short
			table(levels, results)
		}
	}()
	for round := range *rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, *rounds)
		for i, level := range levels {
			if err := s.ours(ctx, level, i == 0, results); err != nil {
				return err
			}
			if i == 0 {
				if err := s.peer(ctx, results); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sample is what one run cost.
type sample struct {
	wall, cpu time.Duration // cpu: user and system time of all processes
	rss       int64         // kilobytes, of the largest process
	bytes     int64         // of the artifact
}

// names of what is measured beside the levels.
const (
	casePeer      = "uv, tar, gzip -6"
	caseUnchanged = "nothing changed"
	caseChanged   = "one small package changed"
)

// ours builds with an empty layer cache and, after the first level, again with
// a full one.
func (s *stage) ours(ctx context.Context, level string, again bool, results map[string][]sample) (err error) {
	dir, err := os.MkdirTemp(s.dir, "ours-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "cache"), 0o755), os.Symlink(s.inputs, filepath.Join(dir, "cache", "inputs"))); err != nil {
		return err
	}
	build := func(name, recipe string) error {
		out := filepath.Join(dir, "out")
		took, err := measure(ctx, filepath.Join(dir, "result"), exec.CommandContext(ctx, s.program, "build", recipe, "--offline", "--progress", "quiet",
			"--find-links", s.standins, "--cache", filepath.Join(dir, "cache"), "-o", "oci:"+out+":bench"))
		if err != nil {
			return err
		}
		took.bytes, err = size(out)
		note(results, name, took)
		return err
	}
	if err := build(level, s.recipes[level]); err != nil || !again {
		return err
	}
	if err := build(caseUnchanged, s.recipes[level]); err != nil {
		return err
	}
	return build(caseChanged, s.recipes[caseChanged])
}

// peer installs the wheels and packs the tree.
func (s *stage) peer(ctx context.Context, results map[string][]sample) (err error) {
	dir, err := os.MkdirTemp(s.dir, "peer-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	install := exec.CommandContext(ctx, "uv", "pip", "install", "--offline", "--no-deps", "--no-index", "--find-links", s.wheelhouse,
		"--only-binary", ":all:", "--python-platform", "aarch64-apple-darwin", "--python-version", "3.12",
		"--cache-dir", filepath.Join(dir, "uv"), "--target", filepath.Join(dir, "T"), "-r", s.requirements)
	install.Env = append(os.Environ(), "MACOSX_DEPLOYMENT_TARGET=15.0", "UV_PYTHON_DOWNLOADS=never")
	took, err := measure(ctx, filepath.Join(dir, "log"), install)
	if err != nil {
		return err
	}
	packed := filepath.Join(dir, "T.tar.gz")
	pack, err := measure(ctx, packed, exec.CommandContext(ctx, "tar", "-C", dir, "-cf", "-", "T"), exec.CommandContext(ctx, "gzip", "-6"))
	if err != nil {
		return err
	}
	info, err := os.Stat(packed)
	if err != nil {
		return err
	}
	note(results, casePeer, sample{wall: took.wall + pack.wall, cpu: took.cpu + pack.cpu, rss: max(took.rss, pack.rss), bytes: info.Size()})
	return nil
}

// note adds a sample and shows it: a round takes minutes.
func note(results map[string][]sample, name string, s sample) {
	results[name] = append(results[name], s)
	fmt.Fprintf(os.Stderr, "  %s: %.2f s, %.2f s of processor time, %.0f MB peak, %.1f MB\n", name, s.wall.Seconds(), s.cpu.Seconds(), float64(s.rss)/1000, float64(s.bytes)/1e6)
}

// measure runs commands as a pipe, whose end goes to the file output.
func measure(ctx context.Context, output string, pipe ...*exec.Cmd) (took sample, err error) {
	out, err := os.Create(output)
	if err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var said bytes.Buffer
	var before *exec.Cmd
	for _, cmd := range pipe {
		if before != nil {
			if cmd.Stdin, err = before.StdoutPipe(); err != nil {
				return took, err
			}
		}
		before = cmd
	}
	before.Stdout = out
	pipe[0].Stderr = &said
	start := time.Now()
	for _, cmd := range pipe {
		if err := cmd.Start(); err != nil {
			return took, err
		}
	}
	for _, cmd := range slices.Backward(pipe) { // Wait closes the pipe that the next one reads
		if err := cmd.Wait(); err != nil {
			return took, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), errors.Join(err, context.Cause(ctx)), said.String())
		}
		took.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			took.rss = max(took.rss, usage.Maxrss)
		}
	}
	took.wall = time.Since(start)
	return took, nil
}

// table prints the medians in Markdown.
func table(levels []string, results map[string][]sample) {
	peer := results[casePeer]
	fmt.Println("| case | wall s | cpu s | times as fast, wall | cpu | peak MB | MB written | of the peer's |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, name := range append([]string{casePeer}, append(levels, caseUnchanged, caseChanged)...) {
		all := results[name]
		wall, cpu := ratios(peer, all, func(s sample) float64 { return s.wall.Seconds() }), ratios(peer, all, func(s sample) float64 { return s.cpu.Seconds() })
		fmt.Printf("| %s | %.2f | %.2f | %.1f | %.1f | %.0f | %.0f | %.3f |\n", name,
			median(all, func(s sample) float64 { return s.wall.Seconds() }), median(all, func(s sample) float64 { return s.cpu.Seconds() }), wall, cpu,
			median(all, func(s sample) float64 { return float64(s.rss) / 1000 }), median(all, func(s sample) float64 { return float64(s.bytes) / 1e6 }),
			1/ratios(peer, all, func(s sample) float64 { return float64(s.bytes) }))
	}
}

// ratios is the median over the rounds of peer to ours.
func ratios(peer, ours []sample, of func(sample) float64) float64 {
	all := make([]float64, 0, len(ours))
	for i := range min(len(peer), len(ours)) {
		all = append(all, of(peer[i])/of(ours[i]))
	}
	return middle(all)
}

func median(all []sample, of func(sample) float64) float64 {
	values := make([]float64, len(all))
	for i := range all {
		values[i] = of(all[i])
	}
	return middle(values)
}

func middle(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
