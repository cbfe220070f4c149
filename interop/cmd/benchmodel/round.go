// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/metalpack/metalpack/interop/internal/timing"
)

// slowLink is the slow link in bytes a second.
const slowLink = 200_000_000

// round measures every case once, in every other round the other way round.
func (s *stage) round(ctx context.Context, number int, results timing.Results) (err error) {
	dir, err := os.MkdirTemp(s.dir, "round-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &runs{stage: s, dir: dir, results: results, backward: number%2 == 1}
	steps := []func(context.Context, *server) error{r.peer, r.puts, r.ours, r.remembered}
	if r.backward {
		steps = []func(context.Context, *server) error{r.ours, r.remembered, r.puts, r.peer}
	}
	for _, step := range steps {
		if err := r.onRegistry(ctx, step); err != nil {
			return err
		}
	}
	for _, way := range []struct {
		suffix string
		rate   int
	}{{"", 0}, {link, slowLink}} {
		if err := r.fromHub(ctx, way.suffix, way.rate); err != nil {
			return err
		}
	}
	return nil
}

// runs is one round.
type runs struct {
	*stage
	dir      string
	results  timing.Results
	backward bool
}

// onRegistry does a step with a registry that is empty; it gets that.
func (r *runs) onRegistry(ctx context.Context, step func(ctx context.Context, registry *server) error) (err error) {
	dir := filepath.Join(r.dir, "registry")
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	registry, err := serve(ctx, r.program, "registry", "serve", "--addr", "127.0.0.1:0", "--dir", dir)
	if err != nil {
		return err
	}
	defer registry.stop()
	return step(ctx, registry)
}

// measure runs a program in the model's directory, beside the servers it talks
// to.
func (r *runs) measure(ctx context.Context, name string, beside servers, env []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = r.model.dir, append(os.Environ(), env...)
	before := beside.used()
	took, err := timing.Measure(ctx, filepath.Join(r.dir, "log"), cmd)
	if err == nil {
		took.Others = beside.used() - before
		r.results.Note(os.Stderr, name, took)
	}
	return err
}

// build is metalpack model build with a cache below the round's directory. The
// registry is the first server.
func (r *runs) build(ctx context.Context, name, source string, beside servers, env ...string) error {
	return r.measure(ctx, name, beside, env, r.program, "model", "build", source, "--progress", "quiet",
		"--cache", filepath.Join(r.dir, "cache"), "-o", "docker://"+beside[0].host()+"/bench/model:1")
}

func (r *runs) peer(ctx context.Context, registry *server) error {
	args := make([]string, 0, 4+len(r.model.files))
	args = append(args, "push", "--plain-http", "--no-tty", registry.host()+"/bench/model:1")
	for _, f := range r.model.files {
		args = append(args, f.name)
	}
	return r.measure(ctx, orasPush, servers{registry}, nil, r.oras, args...)
}

// ours pushes twice, and both sides pull what it pushed.
func (r *runs) ours(ctx context.Context, registry *server) error {
	if err := r.build(ctx, unknown, r.model.dir, servers{registry}); err != nil {
		return err
	}
	if err := r.build(ctx, unchanged, r.model.dir, servers{registry}); err != nil {
		return err
	}
	ref, to := registry.host()+"/bench/model:1", filepath.Join(r.dir, "pulled")
	pulls := []struct {
		name, program string
		args          []string
	}{
		{orasPull, r.oras, []string{"pull", "--plain-http", "--no-tty", "-o", to, ref}},
		{pull, r.program, []string{"pull", ref, "--progress", "quiet", "-o", to}},
	}
	if r.backward {
		slices.Reverse(pulls)
	}
	for _, p := range pulls {
		err := r.measure(ctx, p.name, servers{registry}, nil, p.program, p.args...)
		if err := errors.Join(err, os.RemoveAll(to)); err != nil {
			return err
		}
	}
	return nil
}

func (r *runs) remembered(ctx context.Context, registry *server) error {
	return r.build(ctx, known, r.model.dir, servers{registry})
}

// inside measures what this program does itself with all files at once, beside
// the server it talks to.
func (r *runs) inside(ctx context.Context, name string, beside *server, do func(context.Context, file) error) error {
	before, others, start := usage(), beside.used(), time.Now()
	failed := make([]error, len(r.model.files))
	var all sync.WaitGroup
	for i, f := range r.model.files {
		all.Go(func() { failed[i] = do(ctx, f) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.results.Note(os.Stderr, name, timing.Sample{Wall: time.Since(start), CPU: usage() - before, Others: beside.used() - others})
	return nil
}

// usage is the processor time of this program.
func usage() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // of itself, always
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// puts sends each file by POST and PUT. The body is the file itself, which the
// kernel sends from its page cache.
func (r *runs) puts(ctx context.Context, registry *server) error {
	return r.inside(ctx, onePut, registry, func(ctx context.Context, f file) error {
		location, err := request(ctx, http.MethodPost, registry.address+"/v2/bench/model/blobs/uploads/", nil, 0, http.StatusAccepted)
		if err != nil {
			return err
		}
		to, err := url.Parse(location)
		if err != nil {
			return err
		}
		q := to.Query()
		q.Set("digest", "sha256:"+f.sha256)
		to.RawQuery = q.Encode()
		body, err := os.Open(filepath.Join(r.model.dir, f.name))
		if err != nil {
			return err
		}
		_, err = request(ctx, http.MethodPut, to.String(), body, f.size, http.StatusCreated) // which closes body
		return err
	})
}

// request sends a request, drops the content of its answer and returns the
// address that it names.
func request(ctx context.Context, method, address string, body io.Reader, size int64, want int) (location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return "", err
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != want {
		return "", fmt.Errorf("%s %s: %s", method, address, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Header.Get("Location"), err
}

// fromHub streams the model from a hub, first to nowhere and then into a
// registry.
func (r *runs) fromHub(ctx context.Context, suffix string, rate int) (err error) {
	hub, err := serve(ctx, r.devtool, "hub", "-model", r.model.dir, "-name", "bench/model", "-rate", strconv.Itoa(rate))
	if err != nil {
		return err
	}
	defer hub.stop()
	err = r.inside(ctx, hubAlone+suffix, hub, func(ctx context.Context, f file) error {
		_, err := request(ctx, http.MethodGet, hub.address+"/bench/model/resolve/main/"+url.PathEscape(f.name), nil, 0, http.StatusOK)
		return err
	})
	if err != nil {
		return err
	}
	err = r.onRegistry(ctx, func(ctx context.Context, registry *server) error {
		return r.build(ctx, hubPush+suffix, "hf.co/bench/model", servers{registry, hub}, "HF_ENDPOINT="+hub.address)
	})
	if err != nil {
		return err
	}
	alone, put := last(r.results[hubAlone+suffix]), last(r.results[onePut])
	if put.Wall > alone.Wall {
		alone = put
	}
	r.results[slower+suffix] = append(r.results[slower+suffix], alone)
	return nil
}

func last(all []timing.Sample) timing.Sample { return all[len(all)-1] }
