// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Command benchmodel measures metalpack model build and pull of a large model
// against oras push and pull, on the embedded registry.
//
// Start it with make bench-model at the root of the repository. It makes a model
// of 2 GB, as four layers and as one, and lets both programs take turns, each
// push into a registry that is empty, and each round in the other order: who
// comes first pays for memory that nobody has touched yet. We push three times: with digests that
// nobody knows, with digests that were remembered, and with nothing new to
// send. Beside them stands what the registry takes at all: one PUT a file, sent
// from the page cache and hashed by nobody but the registry. Then the model
// goes from a hub on loopback into the registry, over a link as fast as can be
// and over one of 200 MB a second, against the slower of the two ways alone.
//
// The table has medians of wall time, of processor time of the program alone
// and with the server it talks to, of the share of all processors that they kept
// busy, of peak memory, and of ratios within a round. Everything lies in the
// directory of -dir, which is in memory if there is room, because a disk would
// bound both sides, and is removed at the end. docs/bench.md has results.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/metalpack/metalpack/interop/internal/timing"
)

func main() {
	// A reader of the table that leaves must not leave gigabytes behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

// run measures and prints a table per shape of the model.
func run(ctx context.Context) (err error) {
	rounds := flag.Int("n", 3, "rounds")
	quick := flag.Bool("quick", false, "one round, four layers alone")
	size := flag.Int64("size", 2<<30, "bytes of the weights")
	root := flag.String("root", "..", "the repository")
	dir := flag.String("dir", "", "where model and registries lie (default: in memory if there is room, else the temporary directory)")
	flag.Parse()
	shapes := []int{4, 1}
	if *quick {
		*rounds, shapes = 1, shapes[:1]
	}
	s, err := newStage(ctx, *root, *dir, *size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	fmt.Fprintf(os.Stderr, "in %s\n", s.dir)
	for _, shards := range shapes {
		if err := s.shape(ctx, shards, *rounds); err != nil {
			return err
		}
	}
	return nil
}

// shape measures a model of so many shards.
func (s *stage) shape(ctx context.Context, shards, rounds int) (err error) {
	if s.model, err = s.makeModel(ctx, shards); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.model.dir)) }()
	results := timing.Results{}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "%d layers, round %d of %d\n", shards, round+1, rounds)
		if err := s.round(ctx, round, results); err != nil {
			return err
		}
	}
	fmt.Printf("%s of weights in %d layers:\n\n", megabytes(s.size), shards)
	table(results)
	fmt.Println()
	return nil
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", n/1e6) }

// Names of what is measured.
const (
	orasPush  = "oras push"
	unknown   = "push, digests unknown"
	known     = "push, digests known"
	unchanged = "push, nothing new"
	onePut    = "one PUT a file, nothing hashed"
	orasPull  = "oras pull"
	pull      = "pull"
	hubAlone  = "hub alone"
	hubPush   = "hub to registry"
	slower    = "the slower way alone"
)

// link is the suffix of a case over the slow link.
const link = ", 200 MB/s"

// table prints the medians in Markdown, each case against its peer.
func table(results timing.Results) {
	fmt.Println("| case | wall s | cpu s | with server | busy % | peak MB | against | times as fast |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for _, row := range []struct{ name, peer string }{
		{orasPush, ""},
		{unknown, orasPush},
		{known, orasPush},
		{unchanged, orasPush},
		{onePut, orasPush},
		{orasPull, ""},
		{pull, orasPull},
		{hubAlone, ""},
		{hubPush, slower},
		{hubAlone + link, ""},
		{hubPush + link, slower + link},
	} {
		all, against := results[row.name], ""
		if row.peer != "" {
			against = fmt.Sprintf("%.2f", timing.Ratios(results[row.peer], all, timing.Seconds))
		}
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %.0f | %.0f | %s | %s |\n", row.name,
			timing.Median(all, timing.Seconds), timing.Median(all, timing.Processor),
			timing.Median(all, timing.Processors), timing.Median(all, timing.Busy), timing.Median(all, timing.Megabytes), row.peer, against)
	}
}
