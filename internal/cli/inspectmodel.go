// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
	"github.com/metalpack/metalpack/internal/ui"
)

// modelText shows what a model is and what it is made of. What the artifact
// does not say is left out.
func modelText(out inspected, table ui.TableFunc) string {
	var b strings.Builder
	m := out.Model
	fmt.Fprintf(&b, "%s\n%s\n\nmodel (%s): %s\n", out.Reference, out.Digest, m.Flavor, headline(m))
	var facts ui.Rows
	for _, row := range [][]string{
		{"description", m.Description},
		{"licence", m.License},
		{"base model", m.BaseModel},
		{"source", m.Source},
		{"revision", m.Revision},
		{"tool parser", m.ToolParser},
		{"reasoning parser", m.ReasoningParser},
		{"allowed", strings.Join(m.Allow, ", ")},
	} {
		if row[1] != "" {
			facts.Add(row[0], strings.ReplaceAll(row[1], "\n", " "))
		}
	}
	if err := m.CheckServable(); err != nil {
		facts.Add("not served", strings.TrimSuffix(err.Error(), ": "+bundle.ErrInvalid.Error()))
	}
	var files ui.Rows
	add := func(d bundle.Descriptor, kind, what string) {
		files.Add(short(d.Digest.Encoded()), ui.Bytes(d.Size), kind, what)
	}
	for _, f := range m.Files {
		add(f.Descriptor, string(f.Kind), f.Path)
	}
	for _, a := range m.Archives {
		add(a.Descriptor, string(a.Kind), fmt.Sprintf("an archive of files (%s)", a.Descriptor.MediaType))
	}
	fmt.Fprintf(&b, "%s\n%s, %s\n%s", table("ll", facts), ui.Plural(len(m.Files), "file"), ui.Bytes(m.Size()), table("lrll", files))
	return b.String()
}

// headline is the first line: architecture, size, packing, context.
func headline(m *model.Model) string {
	var parts []string
	for _, s := range []string{m.Architecture, m.Format} {
		if s != "" {
			parts = append(parts, s)
			break
		}
	}
	if m.Parameters != "" {
		parts = append(parts, m.Parameters+" parameters")
	}
	if m.Quantization != "" {
		parts = append(parts, m.Quantization)
	}
	if m.Context > 0 {
		parts = append(parts, "context "+strconv.FormatInt(m.Context, 10))
	}
	if len(parts) == 0 {
		return "nothing stated"
	}
	return strings.Join(parts, ", ")
}
