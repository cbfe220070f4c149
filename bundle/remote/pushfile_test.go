// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// knownFile claims to have the digest of what is pushed; read counts what was
// read of it as a stream.
type knownFile struct {
	*os.File
	read *int
}

func (f knownFile) KnownFile() (*os.File, func(int64)) { return f.File, func(int64) {} }

func (f knownFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	*f.read += n
	return n, err
}

// TestPushFile: a file whose digest is known is sent as it is, and again where
// that may help; one that has another digest after all is found out.
func TestPushFile(t *testing.T) {
	t.Parallel()
	data := regtest.Noise(3 << 20)
	other := append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]^1)
	for name, tt := range map[string]struct {
		data   []byte
		fault  regtest.Fault
		opened int
		read   int
		want   error
	}{
		"right":   {data, regtest.Fault{Path: "none"}, 1, 0, nil},
		"again":   {data, regtest.Fault{Method: http.MethodPut, Path: "/uploads/", Status: http.StatusBadGateway, Times: 1}, 2, 0, nil},
		"wrong":   {other, regtest.Fault{Path: "none"}, 2, len(data), bundle.ErrMismatch},
		"shorter": {data[1:], regtest.Fault{Path: "none"}, 1, len(data) - 1, bundle.ErrMismatch},
		"longer":  {append(bytes.Clone(data), 0), regtest.Fault{Path: "none"}, 1, len(data) + 1, bundle.ErrMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, host := regtest.NewFaulty(t, tt.fault)
			r, _ := open(t, host, remote.Options{})
			desc := bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data)
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			opened, streamed := 0, 0
			err := r.Push(t.Context(), desc, func(context.Context) (io.ReadCloser, error) {
				f, err := os.Open(file)
				opened++
				return bundle.WithProgress(knownFile{f, &streamed}, bundle.Event{}, nil), err
			})
			if !errors.Is(err, tt.want) || opened != tt.opened || streamed != tt.read {
				t.Errorf("opened %d, streamed %d, %v", opened, streamed, err)
			}
			if ok, err := r.Exists(t.Context(), desc); ok != (tt.want == nil) || err != nil {
				t.Errorf("exists %v, %v", ok, err)
			}
		})
	}
}
