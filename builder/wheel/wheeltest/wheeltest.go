// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package wheeltest owns small wheels and interpreters for tests: [Build] makes
// a correct wheel from a map of files, [Interpreter] the archive of a tree that
// looks like a CPython installation. Their options spoil them in one way each.
// The bytes depend on the arguments alone.
package wheeltest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"debug/macho"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Options changes what [Build] writes. The zero value makes a correct wheel.
type Options struct {
	Tag         string                 // of the file name and WHEEL; "" = py3-none-any
	EntryPoints string                 // entry_points.txt
	Metadata    string                 // METADATA in place of the generated one
	Wheel       string                 // WHEEL in place of the generated one
	Modes       map[string]fs.FileMode // modes of files; default 0644
	Extra       []Member               // members that RECORD does not list, after all others
	Record      func(string) string    // changes RECORD
	Store       bool                   // do not compress
}

// Member is a raw member of the archive.
type Member struct {
	Name    string
	Content string
	Mode    fs.FileMode
}

// FileName is the name of the wheel that [Build] makes.
func FileName(name, version string, o Options) string {
	return stem(name, version) + "-" + tag(o) + ".whl"
}

func tag(o Options) string {
	if o.Tag == "" {
		return "py3-none-any"
	}
	return o.Tag
}

func stem(name, version string) string {
	return strings.ReplaceAll(name, "-", "_") + "-" + version
}

// Build makes a wheel of files, by path in the archive. It panics when the
// archive cannot be written, which no input of a test should cause.
func Build(name, version string, files map[string]string, o Options) []byte {
	info := stem(name, version) + ".dist-info/"
	all := maps.Clone(files)
	if all == nil {
		all = map[string]string{}
	}
	all[info+"METADATA"] = fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n\nVersion: of the body\n", name, version)
	if o.Metadata != "" {
		all[info+"METADATA"] = o.Metadata
	}
	all[info+"WHEEL"] = fmt.Sprintf("Wheel-Version: 1.0\nGenerator: wheeltest\nRoot-Is-Purelib: true\nTag: %s\n", tag(o))
	if o.Wheel != "" {
		all[info+"WHEEL"] = o.Wheel
	}
	if o.EntryPoints != "" {
		all[info+"entry_points.txt"] = o.EntryPoints
	}
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	var record strings.Builder
	for _, p := range slices.Sorted(maps.Keys(all)) {
		sum := sha256.Sum256([]byte(all[p]))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", p, base64.RawURLEncoding.EncodeToString(sum[:]), len(all[p]))
		add(zw, Member{p, all[p], o.Modes[p]}, o.Store)
	}
	text := record.String() + info + "RECORD,,\n"
	if o.Record != nil {
		text = o.Record(text)
	}
	add(zw, Member{Name: info + "RECORD", Content: text}, o.Store)
	for _, m := range o.Extra {
		add(zw, m, o.Store)
	}
	must(zw.Close())
	return b.Bytes()
}

func add(zw *zip.Writer, m Member, store bool) {
	h := &zip.FileHeader{Name: m.Name, Method: zip.Deflate}
	if store || strings.HasSuffix(m.Name, "/") {
		h.Method = zip.Store
	}
	if m.Mode == 0 {
		m.Mode = 0o644
	}
	h.SetMode(m.Mode)
	var w io.Writer
	var err error
	if h.Method == zip.Store { // sizes before the content: some readers take no stored member without
		h.CRC32, h.UncompressedSize64, h.CompressedSize64 = crc32.ChecksumIEEE([]byte(m.Content)), uint64(len(m.Content)), uint64(len(m.Content))
		if strings.ContainsFunc(m.Name, func(r rune) bool { return r >= utf8.RuneSelf }) {
			h.Flags |= 1 << 11 // UTF-8
		}
		w, err = zw.CreateRaw(h)
	} else {
		w, err = zw.CreateHeader(h)
	}
	must(err)
	_, err = io.WriteString(w, m.Content)
	must(err)
}

func must(err error) {
	if err != nil {
		panic("wheeltest: " + err.Error())
	}
}

// Interpreter makes a plain tar like that of a python-build-standalone archive:
// python/bin/python3.12 with the machine of goos and goarch in its header,
// the symlinks beside it, and files, by path below python/. A value that begins
// with "-> " makes a symlink.
func Interpreter(goos, goarch string, files map[string]string) []byte {
	all := map[string]string{
		"bin/python3.12":        string(executable(goos, goarch)),
		"bin/python3":           "-> python3.12",
		"bin/python":            "-> python3.12",
		"lib/python3.12/os.py":  "# os\n",
		"lib/python3.12/abc.py": "# abc\n",
	}
	maps.Copy(all, files)
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		h := &tar.Header{Name: "python/" + p, Mode: 0o664, Size: int64(len(all[p])), ModTime: time.Unix(1_700_000_000, 0), Format: tar.FormatPAX, Typeflag: tar.TypeReg}
		if strings.HasPrefix(p, "bin/") {
			h.Mode = 0o775
		}
		if target, ok := strings.CutPrefix(all[p], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
			must(tw.WriteHeader(h))
			continue
		}
		must(tw.WriteHeader(h))
		_, err := tw.Write([]byte(all[p]))
		must(err)
	}
	must(tw.Close())
	return b.Bytes()
}

// executable is the head of an executable file, as much as names its machine.
func executable(goos, goarch string) []byte {
	b := make([]byte, 64)
	if goos == "darwin" {
		return MachO(goarch, 11, true)
	}
	copy(b, "\x7fELF\x02\x01\x01")
	machine := map[string]uint16{"arm64": 183, "amd64": 62}[goarch]
	binary.LittleEndian.PutUint16(b[18:], machine)
	return b
}

// MachO is an executable for Macs as far as its load commands tell: for a
// machine, a lowest macOS, and with a signature or without one.
func MachO(goarch string, macOS uint32, signed bool) []byte {
	le, be := binary.LittleEndian, binary.BigEndian
	var b []byte
	add := func(words ...uint32) {
		for _, w := range words {
			b = le.AppendUint32(b, w)
		}
	}
	cpu := map[string]uint32{"arm64": 0x0100000c, "amd64": 0x01000007}[goarch]
	const header, version, signature, content = 32, 24, 16, 12
	commands, size := uint32(1), uint32(version)
	if signed {
		commands, size = 2, version+signature
	}
	add(0xfeedfacf, cpu, 0, uint32(macho.TypeExec), commands, size, 0, 0)
	add(0x32, version, 1, macOS<<16, macOS<<16, 0) // LC_BUILD_VERSION for macOS
	if !signed {
		return b
	}
	add(0x1d, signature, header+size, content) // LC_CODE_SIGNATURE
	b = be.AppendUint32(b, 0xfade0cc0)         // an embedded signature of no parts
	b = be.AppendUint32(b, content)
	return be.AppendUint32(b, 0)
}
