// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// stage is what all runs share.
type stage struct {
	dir     string // temporary
	program string // ours
	oras    string
	devtool string
	size    int64 // bytes of the weights
	model   *model
}

// model is what is pushed.
type model struct {
	dir   string
	files []file
}

type file struct {
	name, sha256 string
	size         int64
}

// memory is where files lie in memory; what a shape needs there is the model,
// a registry and a pulled copy.
const memory = "/dev/shm"

// newStage builds the programs.
func newStage(ctx context.Context, root, dir string, size int64) (s *stage, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	s = &stage{program: filepath.Join(root, "bin", "metalpack"), size: size}
	if _, err := os.Stat(s.program); err != nil {
		return nil, fmt.Errorf("run make build first: %w", err)
	}
	var fs syscall.Statfs_t
	if dir == "" && syscall.Statfs(memory, &fs) == nil && int64(fs.Bavail)*fs.Bsize > 4*size {
		dir = memory
	}
	if s.dir, err = os.MkdirTemp(dir, "bench-"); err != nil {
		return nil, err
	}
	s.oras, s.devtool = filepath.Join(s.dir, "oras"), filepath.Join(s.dir, "devtool")
	err = errors.Join(
		command(ctx, filepath.Join(root, "interop"), "go", "build", "-o", s.oras, "oras.land/oras/cmd/oras"),
		command(ctx, root, "go", "build", "-o", s.devtool, "./internal/devtool"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// command runs a program for what it does.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), errors.Join(err, context.Cause(ctx)), out)
	}
	return nil
}

// makeModel writes the small files of the tiny model and shards of random
// weights, with no two alike.
func (s *stage) makeModel(ctx context.Context, shards int) (m *model, err error) {
	m = &model{dir: filepath.Join(s.dir, fmt.Sprintf("model-%d", shards))}
	if err := command(ctx, s.dir, s.devtool, "tinymodel", "-o", m.dir); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(m.dir, "model.safetensors")); err != nil {
		return nil, err
	}
	weights := map[string]string{}
	for i := range shards {
		name := "model.safetensors"
		if shards > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards)
		}
		tensor := fmt.Sprintf("model.layers.%d.mlp.weight", i)
		weights[tensor] = name
		if err := writeShard(ctx, filepath.Join(m.dir, name), tensor, s.size/int64(shards)/rowSize, byte(i)); err != nil {
			return nil, err
		}
	}
	if shards > 1 {
		index, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": weights})
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(m.dir, "model.safetensors.index.json"), index, 0o600); err != nil {
			return nil, err
		}
	}
	return m, m.describe()
}

// rowSize is the bytes of one row of a tensor: 1024 half-precision numbers.
const rowSize = 2 << 10

// writeShard writes a safetensors file with one tensor.
func writeShard(ctx context.Context, path, tensor string, rows int64, seed byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	header := fmt.Appendf(nil, `{%q:{"dtype":"F16","shape":[%d,1024],"data_offsets":[0,%d]}}`, tensor, rows, rows*rowSize)
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)); err != nil {
		return err
	}
	noise, row := rand.NewChaCha8([32]byte{seed}), make([]byte, rowSize)
	for range rows {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_, _ = noise.Read(row) // never fails
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	return w.Flush()
}

// describe hashes the files.
func (m *model) describe() error {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(m.dir, e.Name()))
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		m.files = append(m.files, file{e.Name(), hex.EncodeToString(h.Sum(nil)), n})
	}
	return nil
}

// server is a program that answers at an address.
type server struct {
	address string
	cmd     *exec.Cmd
}

// serve starts a program that prints where it answers.
func serve(ctx context.Context, name string, args ...string) (*server, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	s := &server{strings.TrimSpace(address), cmd}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return s, nil
}

// stop stops the program by SIGTERM.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = s.cmd.Wait()                          // interrupted, as it was asked to be
}

// host is the address without its scheme.
func (s *server) host() string { return strings.TrimPrefix(s.address, "http://") }

// servers are all that a program talks to.
type servers []*server

// used is the processor time of all of them so far.
func (s servers) used() (all time.Duration) {
	for _, one := range s {
		all += one.used()
	}
	return all
}

// used is the processor time of the program so far; 0 where the system has no
// /proc.
func (s *server) used() time.Duration {
	p, err := procfs.NewProc(s.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	stat, err := p.Stat()
	if err != nil {
		return 0
	}
	return time.Duration(stat.CPUTime() * float64(time.Second))
}
