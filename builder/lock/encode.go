// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"fmt"
	"strings"
)

// Encode returns the canonical bytes of an address-free lock: rows in the
// order they stand, one wheel a line. An address is written only for archive
// rows, which are on no index.
func (l *Lock) Encode() []byte {
	return l.encode("# Written by \"metalpack lock\". It names files by size and sha256, not by address.\n")
}

func (l *Lock) encode(header string) []byte {
	var b strings.Builder
	b.WriteString(header)
	fmt.Fprintf(&b, "lock-version = %s\ncreated-by = %s\n", quote(l.LockVersion), quote(l.CreatedBy))
	if l.RequiresPython != "" {
		fmt.Fprintf(&b, "requires-python = %s\n", quote(l.RequiresPython))
	}
	if len(l.Environments) > 0 {
		fmt.Fprintf(&b, "environments = %s\n", quoteAll(l.Environments))
	}
	for i := range l.Packages {
		l.Packages[i].encode(&b)
	}
	if in, ok := l.Inputs(); ok {
		fmt.Fprintf(&b, "\n[tool.metalpack]\nplatform = %s\nfloor = %s\ninputs = %s\n", quote(in.Platform), quote(in.Floor), quote(in.Checksum))
		if len(in.Extra) > 0 {
			fmt.Fprintf(&b, "extra = %s\n", quoteAll(in.Extra))
		}
	}
	return []byte(b.String())
}

func (p *Package) encode(b *strings.Builder) {
	fmt.Fprintf(b, "\n[[packages]]\nname = %s\n", quote(p.Name))
	if p.Version != "" {
		fmt.Fprintf(b, "version = %s\n", quote(p.Version))
	}
	if p.Marker != "" {
		fmt.Fprintf(b, "marker = %s\n", quote(p.Marker))
	}
	if p.Archive != nil {
		fmt.Fprintf(b, "archive = %s\n", p.Archive.encode("url", p.Archive.URL))
	}
	if len(p.Wheels) > 0 {
		b.WriteString("wheels = [\n")
		for _, f := range p.Wheels {
			fmt.Fprintf(b, "  %s,\n", f.encode("path", f.Path))
		}
		b.WriteString("]\n")
	}
	if p.VCS != nil {
		fmt.Fprintf(b, "vcs = %s\n", encodeVCS(p.VCS))
	}
	if made, ok := p.Tool["metalpack"].(map[string]any); ok {
		fmt.Fprintf(b, "[packages.tool.metalpack]\nfile = %s\nsize = %d\nsha256 = %s\n",
			quote(fmt.Sprint(made["file"])), made["size"], quote(fmt.Sprint(made["sha256"])))
	}
}

// encodeVCS writes the keys that a row of ours has.
func encodeVCS(vcs map[string]any) string {
	var pairs []string
	for _, key := range []string{"type", "url", "requested-revision", "commit-id", "subdirectory"} {
		if value, ok := vcs[key].(string); ok && value != "" {
			pairs = append(pairs, key+" = "+quote(value))
		}
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}

func (f File) encode(key, value string) string {
	size := ""
	if f.Size > 0 {
		size = fmt.Sprintf("size = %d, ", f.Size)
	}
	return fmt.Sprintf("{ %s = %s, %shashes = { sha256 = %s } }", key, quote(value), size, quote(f.Hashes["sha256"]))
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// quoteAll writes a TOML array of strings.
func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// fromWheels makes the address-free rows of selected wheels.
func fromWheels(wheels []Wheel) []Package {
	rows := make([]Package, 0, len(wheels))
	for _, w := range wheels {
		f := File{Size: w.Size, Hashes: map[string]string{"sha256": w.SHA256}}
		p := Package{Name: w.Name, Version: w.Version}
		if w.Direct {
			f.URL = w.URL
			p.Archive = &f
		} else {
			f.Path = "wheels/" + w.File
			p.Wheels = []File{f}
		}
		rows = append(rows, p)
	}
	return rows
}
