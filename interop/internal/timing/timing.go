// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package timing measures programs against each other: what runs took, in wall
// and processor time, memory and bytes, and the medians of what rounds gave.
// Runs of both sides take turns, so that a busy machine slows both; ratios are
// made within a round.
package timing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// Sample is what one run cost.
type Sample struct {
	Wall, CPU time.Duration // CPU: user and system time of all processes
	Others    time.Duration // processor time of servers that were there before; 0 = not measured
	RSS       int64         // kilobytes, of the largest process; 0 = not measured
	Bytes     int64         // of what was written; 0 = not measured
}

// Seconds is the wall time.
func Seconds(s Sample) float64 { return s.Wall.Seconds() }

// Processor is the processor time in seconds.
func Processor(s Sample) float64 { return s.CPU.Seconds() }

// Processors is the processor time in seconds, that of servers included.
func Processors(s Sample) float64 { return (s.CPU + s.Others).Seconds() }

// Busy is the share of the machine's processors that was used, in percent.
func Busy(s Sample) float64 {
	return 100 * Processors(s) / Seconds(s) / float64(runtime.NumCPU())
}

// Megabytes is the peak memory.
func Megabytes(s Sample) float64 { return float64(s.RSS) / 1000 }

// Results are samples by the name of their case, one a round.
type Results map[string][]Sample

// Note adds a sample and tells it to log: a round takes minutes.
func (r Results) Note(log io.Writer, name string, s Sample) {
	r[name] = append(r[name], s)
	written := ""
	if s.Bytes > 0 {
		written = fmt.Sprintf(", %.1f MB", float64(s.Bytes)/1e6)
	}
	_, _ = fmt.Fprintf(log, "  %s: %.2f s, %.2f s of processor time, %.0f MB peak%s\n", name, Seconds(s), Processor(s), Megabytes(s), written)
}

// Measure runs commands as a pipe, whose end goes to the file output. Memory is
// read from /proc, and not measured where there is none: what wait reports is
// never less than this program had when it started the other.
func Measure(ctx context.Context, output string, pipe ...*exec.Cmd) (took Sample, err error) {
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
	peak := watchPeak(pipe)
	defer func() { took.RSS = max(took.RSS, peak()) }()
	for _, cmd := range slices.Backward(pipe) { // Wait closes the pipe that the next one reads
		if err := cmd.Wait(); err != nil {
			return took, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), errors.Join(err, context.Cause(ctx)), said.String())
		}
		took.CPU += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	took.Wall = time.Since(start)
	return took, nil
}

// often is how often the memory of programs is read; what is allocated later
// than that before their end is missed.
const often = 10 * time.Millisecond

// watchPeak reads the peak memory of running commands until it is asked for
// the largest, in kilobytes.
func watchPeak(commands []*exec.Cmd) (peak func() int64) {
	most, stop, stopped := uint64(0), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(often); ; {
			for _, cmd := range commands {
				if p, err := procfs.NewProc(cmd.Process.Pid); err == nil {
					if status, err := p.NewStatus(); err == nil { // else it has ended
						most = max(most, status.VmHWM)
					}
				}
			}
			select {
			case <-tick.C:
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		return int64(most / 1000)
	}
}

// Ratios is the median over the rounds of peer to ours.
func Ratios(peer, ours []Sample, of func(Sample) float64) float64 {
	all := make([]float64, 0, len(ours))
	for i := range min(len(peer), len(ours)) {
		all = append(all, of(peer[i])/of(ours[i]))
	}
	return middle(all)
}

// Median is that over the rounds.
func Median(all []Sample, of func(Sample) float64) float64 {
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
