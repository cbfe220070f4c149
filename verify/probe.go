// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/child"
)

// DefaultTimeout is how long a probe may take that says nothing else.
const DefaultTimeout = 2 * time.Minute

// InterpreterPath is where the interpreter lies in every environment.
const InterpreterPath = "bin/python3.12"

// searchPath is the PATH of probes.
const searchPath = "/usr/bin:/bin:/usr/sbin:/sbin"

// Status says how a probe went.
type Status string

// The values of Status.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped" // not for this host
	NotRun  Status = "not run" // one before it failed
)

// ProbeResult is one rung of the ladder.
type ProbeResult struct {
	Name     string          `json:"name"`
	Status   Status          `json:"status"`
	Reason   string          `json:"reason,omitempty"` // why it did not pass
	Output   string          `json:"output,omitempty"` // of a probe that passed: its standard output
	Stderr   string          `json:"stderr,omitempty"` // both ends of it
	Duration bundle.Duration `json:"duration"`
}

// ProbeOptions says how [Probes] runs. The zero value is useful.
type ProbeOptions struct {
	Timeout time.Duration    // of probes that name none; 0 = [DefaultTimeout]
	Events  bundle.EventFunc // progress; nil = none
}

// ladder is one run of Probes.
type ladder struct {
	dir     string
	scratch string
	env     *bundle.Environment
	host    bundle.Platform
	options ProbeOptions
}

// Probes runs the interpreter of the environment in dir and then the probes
// that env lists. There is a result for every rung, with an error too. The
// error wraps [ErrProbe] and says which rung failed; or it is ctx's cause, or
// one of the disk.
func Probes(ctx context.Context, dir string, env *bundle.Environment, host bundle.Platform, o ProbeOptions) (results []ProbeResult, err error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	scratch, err := child.NewScratch("", "metalrun-probe-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scratch.Remove()) }()
	l := &ladder{dir: dir, scratch: scratch.Path, env: env, host: host, options: o}
	rungs := append([]bundle.Probe{{Name: interpreterProbe}}, env.Probes...)
	for i, p := range rungs {
		if err != nil {
			results = append(results, ProbeResult{Name: p.Label(), Status: NotRun, Reason: fmt.Sprintf("after %q failed", results[failedAt(results)].Name)})
			continue
		}
		var r ProbeResult
		r, err = l.climb(ctx, p, i)
		results = append(results, r)
	}
	return results, err
}

func failedAt(results []ProbeResult) int {
	for i, r := range results {
		if r.Status == Failed {
			return i
		}
	}
	return 0
}

// climb runs one rung and reports it.
func (l *ladder) climb(ctx context.Context, p bundle.Probe, i int) (ProbeResult, error) {
	r := ProbeResult{Name: p.Label(), Status: Passed}
	event := bundle.Event{Kind: bundle.EventStarted, What: "probe " + r.Name}
	if p.On != "" && p.On != l.host.OS {
		r.Status, r.Reason = Skipped, "runs on "+p.On+" only"
		event.Kind, event.Reason = bundle.EventSkipped, r.Reason
		l.options.Events.Emit(event)
		return r, nil
	}
	l.options.Events.Emit(event)
	work := filepath.Join(l.scratch, strconv.Itoa(i))
	err := l.judge(ctx, p, work, &r)
	if ctx.Err() != nil {
		r.Status, r.Reason = Failed, "interrupted"
		return r, context.Cause(ctx)
	}
	if err != nil {
		r.Status, r.Reason = Failed, err.Error()
		event.Kind, event.Reason = bundle.EventNote, fmt.Sprintf("probe %q failed: %s", r.Name, r.Reason)
		if r.Stderr != "" {
			event.Reason += "\n" + r.Stderr
		}
		l.options.Events.Emit(event)
		return r, fmt.Errorf("probe %q: %w: %w", r.Name, err, ErrProbe)
	}
	event.Kind, event.Reason = bundle.EventDone, r.Output
	l.options.Events.Emit(event)
	return r, nil
}

// judge runs the program of a rung and looks at what it says.
func (l *ladder) judge(ctx context.Context, p bundle.Probe, work string, r *ProbeResult) error {
	program, args, check, err := l.program(p)
	if err != nil {
		return err
	}
	limit := l.options.Timeout
	if p.Timeout != 0 {
		limit = time.Duration(p.Timeout)
	}
	late := fmt.Errorf("still running after %s", seconds(limit))
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	res, err := l.run(ctx, work, append([]string{"-I", "-B", "-c", program}, args...))
	r.Duration, r.Stderr, r.Output = bundle.Duration(res.Duration), strings.TrimSpace(res.Stderr), strings.TrimSpace(res.Stdout)
	switch {
	case errors.Is(err, late):
		return late
	case err != nil:
		if last := lastLine(r.Stderr); last != "" {
			return fmt.Errorf("%w: %s", err, last)
		}
		return err
	}
	return check(r.Output)
}

// run starts the interpreter where nothing of the user can be seen.
func (l *ladder) run(ctx context.Context, work string, args []string) (child.Result, error) {
	env := []string{"LANG=C.UTF-8", "PATH=" + searchPath, "PYTHONDONTWRITEBYTECODE=1", "PYTHONSAFEPATH=1"}
	for _, name := range []string{"HOME", "TMPDIR", "work"} {
		dir := filepath.Join(work, strings.ToLower(name))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return child.Result{}, err
		}
		if name != "work" {
			env = append(env, name+"="+dir)
		}
	}
	return child.Run(ctx, child.Spec{
		Path: filepath.Join(l.dir, filepath.FromSlash(InterpreterPath)), Args: args, Env: env,
		Dir: filepath.Join(work, "work"), Grace: time.Second,
	})
}

// seconds prints a limit as people say it: 60 s, not 1m0s.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return d.String()
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}
