// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"archive/zip"
	"bytes"
	"debug/macho"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/metalpack/metalpack/bundle"
)

// realWheels names a directory, the cache of inputs for example, below which
// wheels lie under any names.
const realWheels = "METALPACK_TEST_WHEELS"

// TestRealWheels reads every file of real wheels, prints the table, and asks
// debug/macho about each thin file and each slice.
func TestRealWheels(t *testing.T) {
	t.Parallel()
	dir := os.Getenv(realWheels)
	if dir == "" {
		t.Skip(realWheels + " names no directory of wheels")
	}
	target, err := NewTarget(bundle.Platform{OS: "darwin", Arch: "arm64", MacOS: "15.0"})
	if err != nil {
		t.Fatal(err)
	}
	var sum Summary
	wheels, files := 0, 0
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		z, err := zip.OpenReader(p)
		if err != nil {
			return nil // not a wheel
		}
		defer z.Close()
		owner := ""
		for _, f := range z.File {
			if before, _, ok := strings.Cut(f.Name, ".dist-info/"); ok && !strings.Contains(before, "/") {
				owner, _, _ = strings.Cut(before, "-")
			}
		}
		if owner == "" {
			return nil
		}
		wheels++
		for _, f := range z.File {
			files++
			sum.Add(Entry{owner, f.Name, readReal(t, f)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := sum.Report(target, nil)
	t.Logf("%d wheels, %d files\n%s", wheels, files, r.Text())
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

func readReal(t *testing.T, f *zip.File) File {
	t.Helper()
	rc, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var c Checker
	var all bytes.Buffer
	chunk := make([]byte, 32<<10)
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(&c, &all)}, struct{ io.Reader }{rc}, chunk); err != nil {
		t.Fatal(err)
	}
	got := c.File()
	if d := cmp.Diff(secondOpinion(t, all.Bytes()), got); d != "" {
		t.Errorf("%s: debug/macho against ours:\n%s", f.Name, d)
	}
	return got
}

// secondOpinion finds the facts at their offsets, with the whole file at hand.
func secondOpinion(t *testing.T, data []byte) (f File) {
	t.Helper()
	if fat, err := macho.NewFatFile(bytes.NewReader(data)); err == nil {
		f.Fat = true
		for _, a := range fat.Arches {
			f.Slices = append(f.Slices, opinion(t, a.File, data[a.Offset:a.Offset+a.Size]))
		}
		return f
	}
	if thin, err := macho.NewFile(bytes.NewReader(data)); err == nil {
		f.Slices = append(f.Slices, opinion(t, thin, data))
	}
	return f
}

func opinion(t *testing.T, m *macho.File, data []byte) Slice {
	t.Helper()
	kinds := map[macho.Type]string{1: "object", 2: "executable", 6: "dylib", 8: "bundle", 10: "dsym"}
	names := map[macho.Cpu]string{macho.CpuArm64: "arm64", macho.CpuAmd64: "x86_64"}
	s := Slice{Kind: kinds[m.Type], CPU: names[m.Cpu]}
	for _, l := range m.Loads {
		raw := l.Raw()
		switch cmd := m.ByteOrder.Uint32(raw); cmd {
		case 0x1d:
			at, n := m.ByteOrder.Uint32(raw[8:]), m.ByteOrder.Uint32(raw[12:])
			if bytes.HasPrefix(data[at:at+n], []byte("\xfa\xde\x0c\xc0")) {
				s.Signature = SignaturePresent
			}
		case 0x32, 0x24:
			at := map[uint32]int{0x32: 12, 0x24: 8}[cmd]
			s.Platform, s.MinOS = PlatformMacOS, Version(m.ByteOrder.Uint32(raw[at:]))
		case 0xc, 0xd, 0x80000018, 0x8000001f, 0x8000001c, 0x20, 0x80000023:
			kind := map[uint32]string{0xc: "load", 0xd: "id", 0x80000018: "weak", 0x8000001f: "reexport", 0x8000001c: "rpath"}[cmd]
			name, _, _ := strings.Cut(string(raw[m.ByteOrder.Uint32(raw[8:]):]), "\x00")
			if strings.HasPrefix(name, "/") && !strings.HasPrefix(name+"/", "/usr/lib/") && !strings.HasPrefix(name, "/System/") {
				s.Foreign = append(s.Foreign, Reference{kind, name})
			}
		}
	}
	return s
}
