// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// row is one line of RECORD, its path normalised.
type row struct {
	sum  string // sha256, hex; "" if the row gives none
	size int64  // -1 if the row gives none
}

// maxRow is the cap on a row in bytes: a path, quoted, and what belongs to it.
const maxRow = 2*bundle.MaxPath + 256

// checkRows caps rows and what is in one, which the CSV reader would hold whole:
// with a line break inside of quotes that can be all of the file.
func checkRows(data []byte) error {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		switch {
		case n > MaxMembers:
			return invalid("more than %d rows", MaxMembers)
		case len(line) > maxRow:
			return invalid("row %d: longer than %d bytes", n, maxRow)
		case bytes.Count(line, []byte(`"`))%2 != 0:
			return invalid("row %d: a quote is open at its end", n)
		}
	}
	return nil
}

// parseRecord reads an incoming RECORD. own is its path in the archive. Errors
// wrap ErrInvalid.
func parseRecord(data []byte, own string) (map[string]row, error) {
	if err := checkRows(data); err != nil {
		return nil, err
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord, r.ReuseRecord = -1, true
	rows := make(map[string]row, bytes.Count(data, []byte("\n")))
	for {
		f, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, invalid("%w", err)
		}
		if len(f) != 3 {
			return nil, invalid("row %q: %d fields, want 3", clip(f[0]), len(f))
		}
		p := strings.TrimPrefix(f[0], "./")
		if err := bundle.CheckPath(p); err != nil {
			return nil, err
		}
		if _, twice := rows[p]; twice {
			return nil, invalid("row %q appears twice", p)
		}
		parsed, err := parseRow(f, p == own)
		if err != nil {
			return nil, err
		}
		rows[p] = parsed
	}
}

// clip shortens what a wheel says to what an error can show.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

func parseRow(f []string, own bool) (r row, err error) {
	r.size = -1
	if f[2] != "" {
		if r.size, err = strconv.ParseInt(f[2], 10, 64); err != nil || r.size < 0 {
			return r, invalid("row %q: size %q", f[0], clip(f[2]))
		}
	}
	if f[1] == "" || own {
		return r, nil
	}
	text, ok := strings.CutPrefix(f[1], "sha256=")
	if !ok {
		return r, nil // another algorithm counts as none: the tree is made of sha256
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(raw) != sha256.Size {
		return r, invalid("row %q: hash %q", f[0], clip(f[1]))
	}
	r.sum = hex.EncodeToString(raw)
	return r, nil
}

// encodeRecord writes the RECORD of installed files, sorted by path; own is the
// path of the RECORD itself. Paths are relative to site.
func encodeRecord(files []File, site, own string) ([]byte, error) {
	lines := make([][]string, 0, len(files)+1)
	for _, f := range files {
		raw, err := hex.DecodeString(f.SHA256)
		if err != nil {
			return nil, invalid("%s: sha256 %q", f.Path, f.SHA256)
		}
		lines = append(lines, []string{relative(site, f.Path), "sha256=" + base64.RawURLEncoding.EncodeToString(raw), strconv.FormatInt(f.Size, 10)})
	}
	lines = append(lines, []string{relative(site, own), "", ""})
	slices.SortFunc(lines, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(lines); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// relative returns p relative to the directory site, both relative to the root.
func relative(site, p string) string {
	if rest, ok := strings.CutPrefix(p, site+"/"); ok {
		return rest
	}
	return strings.Repeat("../", strings.Count(site, "/")+1) + p
}
