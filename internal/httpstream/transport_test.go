// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package httpstream

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// pieces is a connection that notes in which pieces it is given a file.
type pieces struct {
	net.Conn
	all     bytes.Buffer
	largest int64
}

func (p *pieces) ReadFrom(r io.Reader) (int64, error) {
	n, err := p.all.ReadFrom(r)
	p.largest = max(p.largest, n)
	return n, err
}

// TestFilePieces: a file is sent whole and as a file, and its offset moves on the
// way: a kernel that is told to send all at once moves it at the end.
func TestFilePieces(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 5*filePiece/32)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int64{"whole": int64(len(data)), "a part": filePiece + 1, "shorter": int64(len(data)) + 1} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		c := &pieces{}
		n, err := (&bulkConn{c}).ReadFrom(io.LimitReader(f, want))
		want = min(want, int64(len(data)))
		if err != nil || n != want || !bytes.Equal(c.all.Bytes(), data[:want]) {
			t.Errorf("%s: %d bytes, %v", what, n, err)
		}
		if c.largest != filePiece {
			t.Errorf("%s: a piece of %d bytes", what, c.largest)
		}
		_ = f.Close()
	}
}
