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
func modelText(out inspected) string {
	var b strings.Builder
	m := out.Model
	fmt.Fprintf(&b, "%s\n%s\n\nmodel (%s): %s\n", out.Reference, out.Digest, m.Flavor, headline(m))
	for _, row := range [][2]string{
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
			fmt.Fprintf(&b, "  %-16s %s\n", row[0], strings.ReplaceAll(row[1], "\n", " "))
		}
	}
	if err := m.CheckServable(); err != nil {
		fmt.Fprintf(&b, "  %-16s %s\n", "not served", strings.TrimSuffix(err.Error(), ": "+bundle.ErrInvalid.Error()))
	}
	fmt.Fprintf(&b, "\n%s, %s\n", ui.Plural(len(m.Files), "file"), ui.Bytes(m.Size()))
	for _, f := range m.Files {
		fmt.Fprintf(&b, "  %s  %8s  %-8s %s\n", f.Descriptor.Digest.Encoded()[:12], ui.Bytes(f.Descriptor.Size), f.Kind, f.Path)
	}
	for _, a := range m.Archives {
		fmt.Fprintf(&b, "  %s  %8s  %-8s an archive of files (%s)\n", a.Descriptor.Digest.Encoded()[:12], ui.Bytes(a.Descriptor.Size), a.Kind, a.Descriptor.MediaType)
	}
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
