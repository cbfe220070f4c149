// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Command bench measures metalpack build against what one would type without
// it, on the 160 wheels of the vllm-metal environment:
//
//	uv pip install --target T … && tar -cf - T | gzip -6 > T.tar.gz
//
// Start it with make bench-build at the root of the repository. Both sides read
// the same wheel files, which are in the page cache by then; uv starts with an
// empty cache of its own, we with an empty layer cache, and every run writes to
// a new directory. The runs take turns, so that a busy machine slows both, and
// change places each round. The table has the medians of
// wall time, of user and system time, of their ratios to the peer's run of the
// same round, and of the largest process. Two more cases begin where a build
// has ended: nothing has changed, and one file of one small package has.
//
// It needs uv on PATH and the wheels in the user's cache, and says how to get
// what is missing. docs/bench.md has results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/metalpack/metalpack/interop/internal/timing"
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
	results := timing.Results{}
	defer func() {
		if len(results[caseChanged]) > 0 && len(results[casePeer]) > 0 { // also of rounds that an interrupt cut short
			table(levels, results)
		}
	}()
	for round := range *rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, *rounds)
		if err := s.round(ctx, round, levels, results); err != nil {
			return err
		}
	}
	return nil
}

// round measures every case once; every other round begins with the peer.
func (s *stage) round(ctx context.Context, number int, levels []string, results timing.Results) error {
	for i, level := range levels {
		steps := []func() error{func() error { return s.ours(ctx, level, i == 0, results) }}
		if i == 0 {
			steps = append(steps, func() error { return s.peer(ctx, results) })
		}
		if number%2 == 1 {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// names of what is measured beside the levels.
const (
	casePeer      = "uv, tar, gzip -6"
	caseUnchanged = "nothing changed"
	caseChanged   = "one small package changed"
)

// ours builds with an empty layer cache and, after the first level, again with
// a full one.
func (s *stage) ours(ctx context.Context, level string, again bool, results timing.Results) (err error) {
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
		took, err := timing.Measure(ctx, filepath.Join(dir, "result"), exec.CommandContext(ctx, s.program, "build", recipe, "--offline", "--progress", "quiet",
			"--find-links", s.standins, "--cache", filepath.Join(dir, "cache"), "-o", "oci:"+out+":bench"))
		if err != nil {
			return err
		}
		took.Bytes, err = size(out)
		results.Note(os.Stderr, name, took)
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
func (s *stage) peer(ctx context.Context, results timing.Results) (err error) {
	dir, err := os.MkdirTemp(s.dir, "peer-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	install := exec.CommandContext(ctx, "uv", "pip", "install", "--offline", "--no-deps", "--no-index", "--find-links", s.wheelhouse,
		"--only-binary", ":all:", "--python-platform", "aarch64-apple-darwin", "--python-version", "3.12",
		"--cache-dir", filepath.Join(dir, "uv"), "--target", filepath.Join(dir, "T"), "-r", s.requirements)
	install.Env = append(os.Environ(), "MACOSX_DEPLOYMENT_TARGET=15.0", "UV_PYTHON_DOWNLOADS=never")
	took, err := timing.Measure(ctx, filepath.Join(dir, "log"), install)
	if err != nil {
		return err
	}
	packed := filepath.Join(dir, "T.tar.gz")
	pack, err := timing.Measure(ctx, packed, exec.CommandContext(ctx, "tar", "-C", dir, "-cf", "-", "T"), exec.CommandContext(ctx, "gzip", "-6"))
	if err != nil {
		return err
	}
	info, err := os.Stat(packed)
	if err != nil {
		return err
	}
	results.Note(os.Stderr, casePeer, timing.Sample{Wall: took.Wall + pack.Wall, CPU: took.CPU + pack.CPU, RSS: max(took.RSS, pack.RSS), Bytes: info.Size()})
	return nil
}

// table prints the medians in Markdown.
func table(levels []string, results timing.Results) {
	peer := results[casePeer]
	fmt.Println("| case | wall s | cpu s | times as fast, wall | cpu | peak MB | MB written | of the peer's |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, name := range append([]string{casePeer}, append(levels, caseUnchanged, caseChanged)...) {
		all := results[name]
		wall, cpu := timing.Ratios(peer, all, timing.Seconds), timing.Ratios(peer, all, timing.Processor)
		fmt.Printf("| %s | %.2f | %.2f | %.1f | %.1f | %.0f | %.0f | %.3f |\n", name,
			timing.Median(all, timing.Seconds), timing.Median(all, timing.Processor), wall, cpu, timing.Median(all, timing.Megabytes),
			timing.Median(all, func(s timing.Sample) float64 { return float64(s.Bytes) / 1e6 }), 1/timing.Ratios(peer, all, func(s timing.Sample) float64 { return float64(s.Bytes) }))
	}
}
